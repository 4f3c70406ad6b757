"""The whole examination, by groups, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hgedge.doctor.check import Check
from hgedge.doctor.jetson import jetson
from hgedge.doctor.libraries import libraries
from hgedge.doctor.machine import Machine
from hgedge.doctor.nvidia import driver, kernels, pycuda
from hgedge.doctor.pictures import pictures
from hgedge.doctor.processor import processor
from hgedge.doctor.tensorrt import tensorrt, tensorrt_rtx

BACKENDS = ("tensorrt", "tensorrt-rtx", "openvino", "onnxruntime", "torch")  # best first
ON_GPU, GPU_PARTS = ("tensorrt", "tensorrt-rtx"), ("nvidia", "pycuda", "kernels")
EXPORT = ("torch", "onnx", "onnxsim", "onnxscript", "safetensors")

GROUPS: dict[str, Callable[[Machine], list[Check]]] = {
    "machine": lambda machine: [*processor(machine), *jetson(machine)],
    "NVIDIA": lambda machine: [look(machine) for look in (driver, tensorrt, tensorrt_rtx, pycuda, kernels)],
    "libraries": libraries,
    "pictures": pictures,
}


def examine(machine: Machine) -> dict[str, list[Check]]:
    """All checks by the name of their group; the last group draws the conclusions."""
    groups = {name: look(machine) for name, look in GROUPS.items()}
    checks = {check.name: check for group in groups.values() for check in group}
    return groups | {"together": [running(checks), building(checks), automatic(machine, checks)]}


def healthy(groups: Mapping[str, Iterable[Check]]) -> bool:
    """Whether engines can run here, and nothing is broken; a machine that only runs them need not build any."""
    checks = [check for group in groups.values() for check in group]
    runs = any(check.name == "run" and check.state == "ok" for check in checks)
    return runs and all(check.state != "broken" for check in checks)


def running(checks: Mapping[str, Check]) -> Check:
    """Which backends can run an engine here, and what a GPU lacks; frames come through OpenCV."""
    here = [name for name in BACKENDS if checks[name].state == "ok"]
    lacking = [part for part in GPU_PARTS if checks[part].state != "ok"]
    able = [name for name in here if not (lacking and name in ON_GPU)]
    if not able:
        return Check("run", "missing", "no backend can run here", checks["openvino"].fix)
    if checks["opencv"].state != "ok":
        return Check("run", "missing", f"{', '.join(able)}, but no OpenCV to read frames", checks["opencv"].fix)
    wanting = f"; tensorrt also needs {', '.join(lacking)}" if lacking and "tensorrt" in here else ""
    return Check("run", "ok", f"engines of {', '.join(able)}{wanting}")


def building(checks: Mapping[str, Check]) -> Check:
    """What engines can be built from here."""
    if checks["onnx"].state != "ok":
        return Check("build", "missing", "nothing can be built here", checks["onnx"].fix)
    lacking = [name for name in EXPORT if checks[name].state != "ok"]
    if lacking:
        return Check("build", "ok", f"from bundles and shipped models; checkpoints also need {', '.join(lacking)}")
    return Check("build", "ok", "from checkpoints, ONNX files and bundles")


def automatic(machine: Machine, checks: Mapping[str, Check]) -> Check:
    """The backend that --backend auto takes here, and why."""
    tried = machine.attempt("hgedge.doctor.choice")
    if tried.error:
        reason = tried.error.partition("; install")[0]
        return Check("auto", "missing", reason, checks["openvino"].fix or "name one: hgedge build --backend NAME")
    name = tried.facts["backend"]
    reason = tried.facts["reason"].removeprefix("backend auto: ").strip() or name
    chosen = checks.get(name)
    if chosen is not None and chosen.state != "ok":
        return Check("auto", "missing", f"{reason}; but {name} is not usable here", chosen.fix)
    return Check("auto", "ok", reason)
