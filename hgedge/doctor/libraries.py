"""Libraries that extras install: which versions hgedge takes, and which are here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hgedge.doctor.attempts import Attempt
from hgedge.doctor.check import Check
from hgedge.doctor.machine import Machine

APT_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libstdc++.so.6": "libstdc++6",
}


@dataclass(frozen=True)
class Library:
    """One row of what `pyproject.toml` asks for.

    Attributes:
        package: As pip calls it.
        least: The oldest version that hgedge takes.
        extra: What installs it: `pip install 'hgedge[EXTRA]'`.
        use: What for.
    """

    package: str
    least: str
    extra: str
    use: str

    @property
    def install(self) -> str:
        """The command that installs it, or replaces one that is too old."""
        return f"pip install 'hgedge[{self.extra}]'"

    @property
    def upgrade(self) -> str:
        """The command that replaces a version out of range."""
        return f"pip install '{self.package}>={self.least}'"

    @property
    def reinstall(self) -> str:
        """The command that replaces a broken one."""
        return f"pip install --force-reinstall --no-deps '{self.package}>={self.least}'"


LIBRARIES = {
    "openvino": Library("openvino", "2025.0", "openvino", "runs engines on CPUs, fastest"),
    "onnxruntime": Library("onnxruntime", "1.18", "onnxruntime", "runs engines on CPUs, the reference"),
    "torch": Library("torch", "2.6", "export", "reads checkpoints, trains, runs the FP32 baseline"),
    "onnx": Library("onnx", "1.16", "build", "builds engines"),
    "onnxsim": Library("onnxsim", "0.4.36", "export", "exports checkpoints"),
    "onnxscript": Library("onnxscript", "0.3", "export", "exports checkpoints"),
    "safetensors": Library("safetensors", "0.4", "export", "reads checkpoints"),
    "tensorrt": Library("tensorrt", "10.3", "tensorrt", "runs engines on NVIDIA GPUs"),
    "tensorrt-rtx": Library("tensorrt_rtx_cu13_bindings", "1.4", "tensorrt-rtx", "runs engines on RTX GPUs"),
}
IMPORTED = ("openvino", "onnxruntime", "torch", "onnx")  # proven; of the others the version is enough
LISTED = ("onnxsim", "onnxscript", "safetensors")


def libraries(machine: Machine) -> list[Check]:
    """All of them but TensorRT and OpenCV."""
    return [imported(name, machine.attempt(name)) for name in IMPORTED] + [listed(name, machine) for name in LISTED]


def imported(name: str, tried: Attempt) -> Check:
    """A library that was imported, or was to be."""
    library = LIBRARIES[name]
    if tried.missing.partition(".")[0] == name:
        return Check(name, "missing", f"not installed; {library.use}", library.install)
    if tried.error:
        return Check(name, "broken", tried.error, fix_of(tried.error, library.reinstall))
    return _of_version(name, tried.version, _details(name, tried))


def listed(name: str, machine: Machine) -> Check:
    """A library that is slow to import and seldom broken: only its version is looked at."""
    version, library = machine.packages.get(name, ""), LIBRARIES[name]
    if not version:
        return Check(name, "missing", f"not installed; {library.use}", library.install)
    return _of_version(name, version)


def _of_version(name: str, version: str, details: str = "") -> Check:
    library = LIBRARIES[name]
    if older(version, library.least):
        return Check(name, "broken", f"{version} is too old, hgedge needs {library.least}", library.upgrade)
    return Check(name, "ok", f"{version.partition('-')[0]}{details}; {library.use}")


def _details(name: str, tried: Attempt) -> str:
    if name == "torch":
        cuda = tried.facts.get("cuda")
        if not cuda:
            return ", for CPUs"
        return f", for CUDA {cuda}" + ("" if tried.facts.get("gpu", True) else ", but finds no GPU")
    if name == "openvino":
        return f" ({', '.join(tried.facts.get('devices', ()))})"
    return ""


def fix_of(error: str, reinstall: str) -> str:
    """What mends an import: a system package where a library of the system is missing, or else a new copy."""
    found = re.search(r"([\w+-]+\.so[\w.]*): cannot open shared object", error)
    package = APT_PACKAGES.get(found[1]) if found else None
    return f"sudo apt install {package}" if package else reinstall


def older(version: str, least: str) -> bool:
    """Whether a version is before another; what is no number counts as new enough."""
    return bool(re.match(r"\d", version)) and _numbers(version) < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[\d.]*\d", version)
    numbers = [int(part) for part in release[0].split(".") if part] if release else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
