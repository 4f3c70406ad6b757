"""TensorRT and TensorRT-RTX: which, for which GPUs, and why not."""

from __future__ import annotations

import re

from hgedge.doctor.check import Check
from hgedge.doctor.libraries import LIBRARIES, older
from hgedge.doctor.machine import Machine

LEAST_ON_JETSON = "8.6"  # JetPack 6.0's; elsewhere the extra's
LEAST_CAPABILITY = 75  # of TensorRT 10 and 11
STUB_FIX = "install the whole library as its guide says: docs.nvidia.com/deeplearning/tensorrt"
RTX_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")


def tensorrt(machine: Machine) -> Check:
    """TensorRT, which is never TensorRT-RTX."""
    tried = machine.attempt("tensorrt")
    if tried.missing == "tensorrt":
        return _not_installed(machine)
    if tried.error:
        return Check("tensorrt", "broken", *_why_broken(machine, tried.error, tried.missing))
    if not tried.facts.get("builder"):
        return Check("tensorrt", "broken", f"{tried.version} is a package without the library", STUB_FIX)
    least = LEAST_ON_JETSON if machine.is_jetson else LIBRARIES["tensorrt"].least
    if older(tried.version, least):
        fix = "install a newer JetPack" if machine.is_jetson else f"pip install 'tensorrt>={least}'"
        return Check("tensorrt", "broken", f"{tried.version} is too old, hgedge needs {least}", fix)
    capability = gpu_capability(machine)
    if capability is None:
        where = "but no GPU that answers: engines are built on the GPU that they are for"
        return Check("tensorrt", "absent", f"{tried.version}, {where}")
    if capability < LEAST_CAPABILITY:
        return Check("tensorrt", "absent", f"{tried.version} is not for this GPU ({_dotted(capability)})")
    return Check("tensorrt", "ok", f"{tried.version}, for this GPU ({_dotted(capability)})")


def _not_installed(machine: Machine) -> Check:
    if not machine.is_jetson:
        if not machine.has_nvidia_gpu:
            return Check("tensorrt", "absent", "needs an NVIDIA GPU")
        library = LIBRARIES["tensorrt"]
        on_pc = machine.architecture == "x86_64"  # the extra brings it there alone
        return Check("tensorrt", "missing", "not installed", library.install if on_pc else library.upgrade)
    homes = sorted(machine.root.glob("usr/lib/python3*/dist-packages/tensorrt"))
    if not homes:
        has_library = any(machine.root.glob("usr/lib/aarch64-linux-gnu/libnvinfer.so*"))
        package = "python3-libnvinfer" if has_library else "nvidia-jetpack"
        return Check("tensorrt", "missing", "JetPack's TensorRT is not installed", f"sudo apt install {package}")
    versions = [match[1] for home in homes if (match := re.search(r"python(3\.\d+)", str(home)))]
    here = ".".join(map(str, machine.python))
    if versions and here not in versions:
        found = f"JetPack's is for Python {', '.join(versions)}, this is Python {here}"
        return Check("tensorrt", "missing", found, f"python{versions[-1]} -m venv --system-site-packages .venv")
    found = "JetPack has it, but this virtual environment does not look there"
    settings = machine.prefix / "pyvenv.cfg"
    if not settings.is_file():
        return Check("tensorrt", "missing", found, "python3 -m venv --system-site-packages .venv")
    line = "s/^include-system-site-packages.*/include-system-site-packages = true/"
    return Check("tensorrt", "missing", found, f"sed -i '{line}' {settings}")


def _why_broken(machine: Machine, error: str, missing: str) -> tuple[str, str]:
    """Why an installed TensorRT cannot be imported, and what to do."""
    if missing.startswith("tensorrt"):
        return f"a package without the library ({error})", STUB_FIX
    if "libnvdla_compiler.so" in error:
        if machine.in_container:
            found = "libnvdla_compiler.so is missing: this image's TensorRT is for another JetPack"
            release = f"L4T {machine.l4t}" if machine.l4t else "this L4T release"
            return found, f"use an image made for {release}, started with --runtime nvidia"
        return "libnvdla_compiler.so, the DLA compiler, is missing", "sudo apt install nvidia-l4t-dla-compiler"
    library = re.search(r"(lib\w+\.so[\w.]*)", error)
    if library and machine.is_jetson:
        package = "nvidia-jetpack" if "nvinfer" not in library[1] else f"--reinstall {_apt_name(library[1])}"
        return f"{library[1]} is missing", f"sudo apt install {package}"
    found = f"{library[1]} is missing" if library else error
    return found, "pip install --force-reinstall 'hgedge[tensorrt]'"


def _apt_name(library: str) -> str:
    """`libnvinfer.so.10` comes in `libnvinfer10`, `libnvinfer_plugin.so.10` in `libnvinfer-plugin10`."""
    name, _, version = library.partition(".so.")
    return f"{name.replace('_', '-')}{version.partition('.')[0]}"


def tensorrt_rtx(machine: Machine) -> Check:
    """TensorRT-RTX: builds without a GPU."""
    tries = [machine.attempt(name) for name in RTX_MODULES]
    tried = next((tried for tried in tries if not tried.error), None)
    if tried is None:
        return _no_rtx(machine, next((tried.error for tried in tries if tried.missing not in RTX_MODULES), ""))
    library = LIBRARIES["tensorrt-rtx"]
    if not tried.facts.get("builder"):
        return Check("tensorrt-rtx", "broken", f"{tried.version} is a package without the library", library.reinstall)
    if older(tried.version, library.least):
        return Check("tensorrt-rtx", "broken", f"{tried.version} is too old", library.install)
    known = tried.facts.get("capabilities", [])
    kinds = f"{tried.version}, for compute capability {', '.join(map(_dotted, known))}" if known else tried.version
    capability = gpu_capability(machine)
    if capability is None:
        return Check("tensorrt-rtx", "ok", f"{kinds}; builds, but no GPU to run on here")
    fits = capability in known or not known
    here = "for this GPU" if fits else f"not for this GPU ({_dotted(capability)})"
    return Check("tensorrt-rtx", "ok" if fits else "absent", f"{kinds}; {here}")


def _no_rtx(machine: Machine, error: str) -> Check:
    library = LIBRARIES["tensorrt-rtx"]
    if error:
        return Check("tensorrt-rtx", "broken", error, library.reinstall)
    if machine.is_jetson:
        return Check("tensorrt-rtx", "absent", "not made for a Jetson")
    if not machine.has_nvidia_gpu:
        return Check("tensorrt-rtx", "absent", "needs an NVIDIA RTX GPU")
    return Check("tensorrt-rtx", "absent", "not installed; the other library, for RTX GPUs", library.install)


def gpu_capability(machine: Machine) -> int | None:
    """Compute capability of GPU 0 as 87 for 8.7; None without a GPU that answers."""
    found = re.search(r"\(sm_(\d+)\)", machine.gpu)
    return int(found[1]) if found else None


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
