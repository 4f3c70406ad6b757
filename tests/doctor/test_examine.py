"""Verdicts over whole machines."""

from __future__ import annotations

import dataclasses

import pytest

from hgedge.doctor import examine, healthy
from hgedge.doctor.attempts import Attempt
from hgedge.doctor.check import STATES

GOOD = {
    "openvino": Attempt("2026.4.1", {"devices": ["CPU"]}),
    "onnx": Attempt("1.23.2"),
    "cv2": Attempt("4.14.0", {"gui": "QT5", "ffmpeg": "YES", "gstreamer": "NO", "hog": True}),
    "hgedge.doctor.choice": Attempt(facts={"backend": "openvino", "reason": "backend auto: openvino, for CPUs"}),
}


def verdict(machine) -> tuple[bool, dict]:
    groups = examine(machine)
    checks = {check.name: check for group in groups.values() for check in group}
    assert len(checks) == sum(map(len, groups.values())), "names are unique"
    for check in checks.values():
        assert check.state in STATES and check.found
        assert check.fix or check.state not in ("missing", "broken"), f"{check.name} has no fix"
    return healthy(groups), checks


def test_what_is_needed_is_enough(make_machine) -> None:
    ok, checks = verdict(make_machine({}, GOOD))
    assert ok and checks["torch"].state == "missing"
    assert checks["build"].found.startswith("from bundles and shipped models; checkpoints also need torch, ")
    assert checks["auto"].found == "openvino, for CPUs"


def test_a_machine_that_only_runs_engines_needs_no_onnx(make_machine) -> None:
    ok, checks = verdict(make_machine({}, {key: value for key, value in GOOD.items() if key != "onnx"}))
    assert ok and (checks["build"].state, checks["build"].fix) == ("missing", "pip install 'hgedge[build]'")


@pytest.mark.parametrize(
    ("name", "line", "fix"),
    [
        ("openvino", "run", "pip install 'hgedge[openvino]'"),
        ("cv2", "run", "pip install 'hgedge[video]'"),
    ],
)
def test_without_one_of_them_it_is_not(make_machine, name: str, line: str, fix: str) -> None:
    ok, checks = verdict(make_machine({}, {key: value for key, value in GOOD.items() if key != name}))
    assert not ok and (checks[line].state, checks[line].fix) == ("missing", fix)


def test_something_broken_is_no_even_if_the_rest_works(make_machine) -> None:
    ok, checks = verdict(make_machine({}, {**GOOD, "torch": Attempt(error="undefined symbol: hg")}))
    assert not ok and checks["torch"].state == "broken" and checks["run"].state == "ok"


def test_another_backend_serves_as_well(make_machine) -> None:
    attempts = {**GOOD, "onnxruntime": Attempt("1.31.1")}
    del attempts["openvino"]
    ok, checks = verdict(make_machine({}, attempts))
    assert ok and checks["run"].found == "engines of onnxruntime"
    assert checks["auto"].state == "missing" and checks["auto"].fix == "pip install 'hgedge[openvino]'"


def test_auto_that_finds_nothing(make_machine) -> None:
    nothing = Attempt(error="--backend auto finds no backend: not this; install one with: pip install a or b")
    _, checks = verdict(make_machine({}, {"hgedge.doctor.choice": nothing}))
    assert checks["auto"].found == "--backend auto finds no backend: not this"
    assert checks["auto"].fix == "pip install 'hgedge[openvino]'"


def test_a_jetson_that_lacks_all(make_machine, orin) -> None:
    machine = make_machine({**orin, ".dockerenv": "", "dev/video0": ""}, architecture="aarch64")
    ok, checks = verdict(machine)
    assert not ok and {"power mode", "csi cameras"} <= set(checks)


def test_what_tensorrt_needs_to_run(make_machine, gpu) -> None:
    attempts = {**GOOD, **gpu("sm_90"), "tensorrt": Attempt("11.4.1", {"builder": True})}
    attempts["hgedge.doctor.kernels"] = kernels(loaded="")
    _, checks = verdict(make_machine({}, attempts))
    assert checks["run"].found == "engines of openvino; tensorrt also needs pycuda, kernels"
    assert checks["pycuda"].state == "missing"
    attempts["pycuda.driver"] = Attempt("2026.1")
    ok, checks = verdict(make_machine({}, attempts))
    assert not ok and checks["run"].found == "engines of openvino; tensorrt also needs kernels"
    attempts["hgedge.doctor.kernels"] = kernels(loaded="PTX for CUDA 13.0")
    ok, checks = verdict(make_machine({}, attempts))
    assert ok and checks["run"].found == "engines of tensorrt, openvino"


def test_tensorrt_rtx_runs_where_it_has_a_gpu(make_machine, gpu) -> None:
    attempts = {**GOOD, "tensorrt_rtx": Attempt("1.7.1", {"builder": True, "capabilities": [86, 89]})}
    _, checks = verdict(make_machine({}, attempts))
    assert checks["tensorrt-rtx"].state == "ok" and checks["run"].found == "engines of openvino"
    attempts |= {"pycuda.driver": Attempt("2026.1"), "hgedge.doctor.kernels": kernels(loaded="NVRTC 13.0")}
    _, checks = verdict(make_machine({}, {**attempts, **gpu("sm_89")}))
    assert checks["run"].found == "engines of tensorrt-rtx, openvino"
    _, checks = verdict(make_machine({}, {**attempts, **gpu("sm_90")}))
    assert checks["tensorrt-rtx"].state == "absent" and checks["run"].found == "engines of openvino"


def kernels(loaded: str) -> Attempt:
    error = "" if loaded else "no kernel image is available"
    return Attempt(facts={"origins": ["PTX for CUDA 13.0"], "lacking": [], "loaded": loaded, "error": error})


def test_checks_are_plain_records(make_machine) -> None:
    _, checks = verdict(make_machine())
    assert {field.name for field in dataclasses.fields(checks["cpu"])} == {"name", "state", "found", "fix"}
