"""The NVIDIA driver and its GPUs, pycuda, and the kernels that it launches."""

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
LEAST_CUDA = "11.0"  # of a driver: CUDA graphs
PYCUDA_LEAST = "2024.1"
NEW_DRIVER = "sudo ubuntu-drivers install && sudo reboot (elsewhere: NVIDIA's driver)"
REBUILD = "pip install --force-reinstall --no-cache-dir --no-deps pycuda"
TOOLKIT = "usr/local/cuda/bin/nvcc"


def driver(machine: Machine) -> Check:
    """The driver, the CUDA that it supports, and the GPUs, of which hgedge uses the first."""
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
    others = f"; not used: {', '.join(facts['others'])}" if facts.get("others") else ""
    found = f"{facts['gpu']}, {facts['memory_gib']} GiB, {version}CUDA {facts['cuda'] or '?'}{others}"
    if older(facts["cuda"], LEAST_CUDA):
        fix = "install JetPack 6 or newer" if machine.is_jetson else NEW_DRIVER
        return Check("nvidia", "broken", f"{found}; hgedge needs CUDA {LEAST_CUDA}", fix)
    return Check("nvidia", "ok", found)


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
    return Check("nvidia", "missing", found, NEW_DRIVER)


def pycuda(machine: Machine) -> Check:
    """What engines on GPUs are run through; it is of one CUDA, whose driver or a newer one it needs."""
    tried, version = machine.attempt("pycuda.driver"), machine.packages.get("pycuda", "")
    if not machine.has_nvidia_gpu:
        return Check("pycuda", "absent", f"{version}, but no NVIDIA GPU here" if version else "needs an NVIDIA GPU")
    if tried.missing.partition(".")[0] == "pycuda":
        return Check("pycuda", "missing", "not installed; runs engines on the GPU", how_to_build(machine))
    if "libcuda.so.1" in tried.error:
        return Check("pycuda", "broken", f"{version}, but there is no driver for it", "see the line nvidia")
    if tried.error:
        return Check("pycuda", "broken", f"{version}: {tried.error}; it was built for another CUDA", REBUILD)
    if older(version, PYCUDA_LEAST):
        return Check("pycuda", "broken", f"{version} is too old", f"pip install 'pycuda>={PYCUDA_LEAST}'")
    built = tried.facts.get("cuda", "")
    offered = str(machine.attempt("hgedge.doctor.driver").facts.get("cuda", ""))
    found = f"{version or 'installed'}, built for CUDA {built or '?'}"
    works = machine.attempt("hgedge.doctor.kernels").facts.get("loaded")
    if built and offered and not works and older(offered.partition(".")[0], built.partition(".")[0]):
        fix = f"update the driver; or, with nvcc of CUDA {offered}: {REBUILD}"
        return Check("pycuda", "broken", f"{found}, but the driver is for CUDA {offered}", fix)
    return Check("pycuda", "ok", found)


def kernels(machine: Machine) -> Check:
    """What cuts crops and finds keypoints on the GPU: where it comes from, and whether the GPU takes it."""
    if not machine.gpu:
        found = "no GPU that answers" if machine.has_nvidia_gpu else "needs an NVIDIA GPU"
        return Check("kernels", "absent", found)
    tried = machine.attempt("hgedge.doctor.kernels")
    if tried.error:
        return Check("kernels", "broken", tried.error, "pip install --force-reinstall --no-deps hgedge")
    origins, loaded = tried.facts["origins"], tried.facts["loaded"]
    if loaded:
        others = ", ".join(name for name in origins if not loaded.startswith(name))
        return Check("kernels", "ok", f"{loaded}, which the GPU takes" + (f"; also {others}" if others else ""))
    lacking = "; ".join(tried.facts["lacking"])
    compiler = re.search(r"pip install [\w.-]+", lacking)
    fix = compiler[0] if compiler else NEW_DRIVER
    if not origins:
        return Check("kernels", "missing", lacking, fix)
    if pycuda(machine).state != "ok":
        return Check("kernels", "absent", f"{', '.join(origins)}; not tried, for want of pycuda")
    return Check("kernels", "broken", tried.facts["error"], fix)


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
