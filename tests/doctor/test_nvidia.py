"""NVIDIA's parts of a machine. A small C library stands for the driver, and is asked as the real one is."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from hgedge.doctor.attempts import Attempt, try_import
from hgedge.doctor.nvidia import driver, how_to_build, kernels, pycuda

CUDA = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return STATUS; }
int cuDeviceGetCount(int *count) { *count = COUNT; return STATUS; }
int cuDeviceGetName(char *name, int length, int device) { strcpy(name, "Drawn GPU"); return STATUS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : 7; return STATUS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return STATUS; }
"""
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Wed Aug 27 17:53:02 UTC 2025\n"
NO_DRIVER = {"hgedge.doctor.driver": Attempt(error="libcuda.so.1: cannot open shared object file: No such file")}


@pytest.fixture
def fake_driver(tmp_path, monkeypatch):
    """fake_driver(status, module): what becomes of the import that asks a driver whose calls end so."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler, cc")

    def ask(status: int, module: str = "hgedge.doctor.driver", count: int = 1) -> dict[str, Attempt]:
        (tmp_path / "cuda.c").write_text(CUDA)
        built = [
            "-shared",
            "-fPIC",
            f"-DSTATUS={status}",
            f"-DCOUNT={count}",
            "-o",
            tmp_path / "libcuda.so.1",
            tmp_path / "cuda.c",
        ]
        subprocess.run([compiler, *built], check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        return {module: try_import(module)}

    return ask


linux = pytest.mark.skipif(sys.platform != "linux", reason="LD_LIBRARY_PATH is Linux's")


@linux
def test_a_gpu_that_answers(make_machine, fake_driver) -> None:
    check = driver(make_machine({"proc/driver/nvidia/version": VERSION}, fake_driver(0)))
    assert (check.state, check.found) == ("ok", "Drawn GPU (sm_87), 8.0 GiB, driver 580.82.07, CUDA 13.2")


@linux
@pytest.mark.parametrize(("status", "fix"), [(803, "sudo reboot"), (999, "nvidia_uvm"), (46, "sudo reboot")])
def test_a_driver_that_does_not_start(make_machine, fake_driver, status: int, fix: str) -> None:
    check = driver(make_machine({}, fake_driver(status)))
    assert check.state == "broken" and f"CUDA error {status}" in check.found and fix in check.fix


@linux
def test_only_the_first_gpu_is_used(make_machine, fake_driver) -> None:
    check = driver(make_machine({}, fake_driver(0, count=2)))
    assert check.found == "Drawn GPU (sm_87), 8.0 GiB, CUDA 13.2; not used: Drawn GPU (sm_87)"


def test_a_driver_that_is_too_old(make_machine, orin, gpu) -> None:
    facts = {**gpu("sm_70")["hgedge.doctor.driver"].facts, "cuda": "10.2"}
    check = driver(make_machine({}, {"hgedge.doctor.driver": Attempt(facts=facts)}))
    assert check.state == "broken" and "hgedge needs CUDA 11.0" in check.found and "ubuntu-drivers" in check.fix
    check = driver(make_machine(orin, {"hgedge.doctor.driver": Attempt(facts=facts)}))
    assert check.fix == "install JetPack 6 or newer"


def test_a_driver_without_a_gpu(make_machine, card) -> None:
    no_device = {"hgedge.doctor.driver": Attempt(facts={"status": 100, "cuda": "13.0", "gpu": "", "memory_gib": 0})}
    assert driver(make_machine({}, no_device)).state == "absent"
    hidden = driver(make_machine(card, no_device))
    assert hidden.state == "broken" and "CUDA_VISIBLE_DEVICES" in hidden.fix


def test_no_driver(make_machine, card) -> None:
    assert driver(make_machine({}, NO_DRIVER)).state == "absent"
    check = driver(make_machine(card, NO_DRIVER))
    assert check.state == "missing" and "ubuntu-drivers install" in check.fix
    check = driver(make_machine({**card, "proc/driver/nvidia/version": VERSION}, NO_DRIVER))
    assert check.state == "broken" and "kernel module is loaded" in check.found


def test_no_driver_in_a_container(make_machine, card) -> None:
    check = driver(make_machine({**card, ".dockerenv": ""}, NO_DRIVER))
    assert check.state == "missing" and "--gpus all" in check.fix


def test_no_driver_in_a_jetsons_container(make_machine, orin) -> None:
    check = driver(make_machine({**orin, ".dockerenv": ""}, NO_DRIVER))
    assert check.state == "missing" and "--runtime nvidia" in check.fix


@pytest.mark.parametrize(
    ("tried", "version", "state", "fix"),
    [
        (Attempt("x"), "2026.1", "ok", None),
        (Attempt("x", {"cuda": "12.6"}), "2026.1", "ok", None),
        (Attempt("x", {"cuda": "13.2"}), "2026.1", "ok", None),
        (Attempt("x", {"cuda": "14.0"}), "2026.1", "broken", "update the driver; or, with nvcc of CUDA 13.0: pip "),
        (Attempt("x"), "2022.1", "broken", "pip install 'pycuda>=2024.1'"),
        (Attempt(error="No module named 'pycuda'", missing="pycuda"), "", "missing", "pip install 'pycuda>=2024.1'"),
        (Attempt(error="libcuda.so.1: cannot open"), "2026.1", "broken", "see the line nvidia"),
        (Attempt(error="libcurand.so.10: cannot open"), "2026.1", "broken", "--no-cache-dir"),
    ],
)
def test_pycuda(make_machine, gpu, tried: Attempt, version: str, state: str, fix: str | None) -> None:
    packages = {"pycuda": version} if version else {}
    check = pycuda(make_machine({}, {"pycuda.driver": tried, **gpu("sm_90")}, packages=packages))
    assert check.state == state and (check.fix is None if fix is None else fix in check.fix)


def test_what_pycuda_was_built_for(make_machine, gpu) -> None:
    attempts = {"pycuda.driver": Attempt("x", {"cuda": "12.6"}), **gpu("sm_90")}
    assert pycuda(make_machine({}, attempts, packages={"pycuda": "2026.1"})).found == "2026.1, built for CUDA 12.6"
    attempts["pycuda.driver"] = Attempt("x", {"cuda": "14.0"})
    assert pycuda(make_machine({}, attempts)).found == "installed, built for CUDA 14.0, but the driver is for CUDA 13.0"
    attempts["hgedge.doctor.kernels"] = Attempt(facts={"loaded": "PTX for CUDA 13.0"})
    assert pycuda(make_machine({}, attempts)).state == "ok", "it works all the same"


def test_pycuda_without_a_gpu_is_not_needed(make_machine) -> None:
    assert pycuda(make_machine(packages={"pycuda": "2026.1"})).state == "absent"


def test_how_pycuda_is_built(make_machine, orin) -> None:
    assert how_to_build(make_machine()).startswith("sudo apt install nvidia-cuda-toolkit g++ ")
    assert how_to_build(make_machine(orin)).startswith("sudo apt install nvidia-jetpack g++ ")
    toolkit = make_machine({"usr/local/cuda/bin/nvcc": ""}, environment={"PATH": "/usr/bin"})
    assert how_to_build(toolkit) == "PATH=/usr/local/cuda/bin:$PATH pip install 'pycuda>=2024.1'"
    on_path = make_machine({"usr/local/cuda/bin/nvcc": ""}, environment={"PATH": "/usr/bin:/usr/local/cuda/bin"})
    assert how_to_build(on_path) == "pip install 'pycuda>=2024.1'"


NO_NVRTC = "found no NVRTC for a driver of CUDA 12.6; install it with: pip install nvidia-cuda-nvrtc-cu12"
OLD = "hgedge brings PTX for drivers of CUDA 11.7 and later, but this one is of 11.4"


@pytest.mark.parametrize(
    ("origins", "lacking", "loaded", "error", "state", "found", "fix"),
    [
        (
            ["PTX for CUDA 12.0", "NVRTC 12.6"],
            [],
            "PTX for CUDA 12.0",
            "",
            "ok",
            "PTX for CUDA 12.0, which the GPU takes; also NVRTC 12.6",
            None,
        ),
        ([], [OLD, f"{NO_NVRTC}; or"], "", "", "missing", OLD, "pip install nvidia-cuda-nvrtc-cu12"),
        ([], [OLD], "", "", "missing", OLD, "sudo ubuntu-drivers install"),
        (["PTX for CUDA 12.0"], [NO_NVRTC], "", "no kernel image", "broken", "no kernel image", "pip install nvidia-"),
    ],
)
def test_kernels(make_machine, gpu, origins, lacking, loaded, error, state: str, found: str, fix: str | None) -> None:
    facts = {"origins": origins, "lacking": lacking, "loaded": loaded, "error": error}
    attempts = {**gpu("sm_87"), "pycuda.driver": Attempt("x"), "hgedge.doctor.kernels": Attempt(facts=facts)}
    check = kernels(make_machine({}, attempts))
    assert check.state == state and found in check.found
    assert check.fix is None if fix is None else check.fix.startswith(fix) and ";" not in check.fix


def test_kernels_that_nothing_can_launch(make_machine, card, gpu) -> None:
    assert kernels(make_machine()).found == "needs an NVIDIA GPU"
    assert kernels(make_machine(card)).found == "no GPU that answers"
    facts = {"origins": ["PTX for CUDA 13.0"], "lacking": [], "loaded": "", "error": "pycuda is not installed"}
    attempts = {**gpu("sm_90"), "hgedge.doctor.kernels": Attempt(facts=facts)}
    check = kernels(make_machine({}, attempts))
    assert (check.state, check.found) == ("absent", "PTX for CUDA 13.0; not tried, for want of pycuda")
    crashed = {**attempts, "hgedge.doctor.kernels": Attempt(error="its import crashes Python (SIGSEGV)")}
    check = kernels(make_machine({}, crashed))
    assert check.state == "broken" and check.fix


@linux
def test_what_this_machine_has_for_a_driver(fake_driver) -> None:
    """PTX is shipped; what loads it onto a GPU lacks here, or finds that the driver is none."""
    tried = fake_driver(0, "hgedge.doctor.kernels")["hgedge.doctor.kernels"]
    assert tried.error == "" and tried.facts["origins"][0] == "PTX for CUDA 13.0"
    assert tried.facts["loaded"] == "" and tried.facts["error"]


@linux
def test_no_kernels_for_a_driver_that_does_not_start(fake_driver) -> None:
    tried = fake_driver(999, "hgedge.doctor.kernels")["hgedge.doctor.kernels"]
    assert tried.facts == {"origins": [], "lacking": [], "loaded": "", "error": "the driver does not answer"}
