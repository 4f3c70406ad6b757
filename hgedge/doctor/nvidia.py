"""The NVIDIA driver and GPU, and pycuda."""

from __future__ import annotations

import re

from hgedge.doctor.check import Check
from hgedge.doctor.libraries import older
from hgedge.doctor.machine import Machine

NO_DEVICE = 100
CUDA_ERRORS = {
    NO_DEVICE: ("no CUDA device is visible", "unset CUDA_VISIBLE_DEVICES; in a container: docker run --gpus all ..."),
    802: ("the system is not yet initialised", "sudo systemctl restart nvidia-fabricmanager"),
    803: ("the driver's library and its kernel module are of different versions", "sudo reboot"),
    804: ("this CUDA compatibility library does not fit the GPU", "remove cuda-compat from LD_LIBRARY_PATH"),
    999: ("the kernel module does not answer", "sudo modprobe nvidia_uvm (or reboot)"),
}
PYCUDA_LEAST = "2024.1"
TOOLKIT = "usr/local/cuda/bin/nvcc"


def driver(machine: Machine) -> Check:
    """The driver, the CUDA that it supports, and GPU 0."""
    tried = machine.attempt("hgedge.doctor.driver")
    module = re.search(r"Kernel Module\D*?([\d.]+)", machine.text("proc/driver/nvidia/version"))
    if tried.error:
        return _no_driver(machine, tried.error, loaded=module is not None)
    facts = tried.facts
    status = facts["status"]
    version = f"driver {module[1]}, " if module else ""
    if status:
        if status == NO_DEVICE and not machine.has_nvidia_gpu:
            return Check("nvidia", "absent", "a driver, but no NVIDIA GPU")
        meaning, fix = CUDA_ERRORS.get(status, ("see nvidia-smi", "sudo reboot"))
        return Check("nvidia", "broken", f"{version}CUDA error {status}: {meaning}", fix)
    return Check("nvidia", "ok", f"{facts['gpu']}, {facts['memory_gib']} GiB, {version}CUDA {facts['cuda'] or '?'}")


def _no_driver(machine: Machine, error: str, loaded: bool) -> Check:
    if not machine.has_nvidia_gpu:
        return Check("nvidia", "absent", "no NVIDIA GPU here")
    if "libcuda.so.1" not in error:
        return Check("nvidia", "broken", f"the driver does not answer: {error}", "sudo reboot, then nvidia-smi")
    if machine.in_container:
        option = "--runtime nvidia" if machine.is_jetson else "--gpus all"
        found = "an NVIDIA GPU, but this container was not given its driver"
        return Check("nvidia", "missing", found, f"docker run {option} ... (needs the NVIDIA Container Toolkit)")
    if machine.is_jetson:
        fix = "sudo apt install --reinstall nvidia-l4t-cuda"
        return Check("nvidia", "broken", "this Jetson's libcuda.so.1 is not found", fix)
    if loaded:
        found = "the kernel module is loaded, but libcuda.so.1 is not found"
        return Check("nvidia", "broken", found, "reinstall the NVIDIA driver: sudo ubuntu-drivers install")
    found = "an NVIDIA GPU, but no driver"
    return Check("nvidia", "missing", found, "sudo ubuntu-drivers install && sudo reboot (elsewhere: NVIDIA's driver)")


def pycuda(machine: Machine) -> Check:
    """What TensorRT engines are run through."""
    tried, version = machine.attempt("pycuda.driver"), machine.packages.get("pycuda", "")
    if not machine.has_nvidia_gpu:
        return Check("pycuda", "absent", f"{version}, but no NVIDIA GPU here" if version else "needs an NVIDIA GPU")
    if tried.missing.partition(".")[0] == "pycuda":
        return Check("pycuda", "missing", "not installed; runs TensorRT engines", how_to_build(machine))
    if "libcuda.so.1" in tried.error:
        return Check("pycuda", "broken", f"{version}, but there is no driver for it", "see the line nvidia")
    if tried.error:
        fix = "pip install --force-reinstall --no-cache-dir --no-deps pycuda"
        return Check("pycuda", "broken", f"{version}: {tried.error}; it was built for another CUDA", fix)
    if older(version, PYCUDA_LEAST):
        return Check("pycuda", "broken", f"{version} is too old", f"pip install 'pycuda>={PYCUDA_LEAST}'")
    return Check("pycuda", "ok", version or "installed")


def how_to_build(machine: Machine) -> str:
    """How pycuda is built here: it has no wheels, so it needs nvcc, CUDA's headers and a C++ compiler."""
    install = "pip install 'pycuda>=2024.1'"
    on_path = any((machine.root / folder.lstrip("/") / "nvcc").is_file() for folder in machine.path_folders)
    if on_path:
        return install
    if (machine.root / TOOLKIT).is_file():
        return f"PATH=/usr/local/cuda/bin:$PATH {install}"
    toolkit = "nvidia-jetpack" if machine.is_jetson else "nvidia-cuda-toolkit"
    return f"sudo apt install {toolkit} g++ python3-dev && {install}"
