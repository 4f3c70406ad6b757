"""NVRTC and nvcc: what the kernels become on every GPU, and what is said where they do not compile."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from hgedge.cache import cache_folder
from hgedge.errors import KernelError
from hgedge.runtime.cuda import compiled as cache
from hgedge.runtime.cuda import nvcc, nvrtc
from hgedge.runtime.cuda.compiled import compiled
from hgedge.runtime.cuda.sources import KERNELS, Source, source_of

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_110", "sm_120")
MAX_REGISTERS = 64  # with so many, every one of these GPUs runs as many warps of 128 or 256 threads as Turing can hold
MAX_SHARED_BYTES = 4096  # sixteen blocks fit in Turing's 64 KiB
ANY_DRIVER = (99, 0)
BROKEN = Source("broken.cu", '// line 1\nextern "C" __global__ void broken(int* out) {\n    out[0] = nothing;\n}\n')
PLAIN = Source(
    "plain.cu",
    '#include "one.cuh"\nextern "C" __global__ void plain(int* out) { out[0] = ONE; }\n',
    {"one.cuh": "#define ONE 1\n"},
)
SPILLING = Source(
    "spilling.cu",
    """extern "C" __global__ void spilling(float* out, int i) {
        volatile float all[64];
        for (int k = 0; k < 64; ++k) all[k] = out[k];
        out[i] = all[i];
    }""",
)


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.find(ANY_DRIVER)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def toolkit() -> nvcc.Nvcc:
    try:
        return nvcc.find(ANY_DRIVER)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_fits_every_gpu_in_registers(compiler, kernel, architecture) -> None:
    code, log = compiler.compile_with_log(source_of(kernel), architecture, ["--ptxas-options=-v"])
    assert code.startswith(b"\x7fELF")
    (entry,) = re.findall(r"Compiling entry function '(\w+)' for '(\w+)'", log)
    assert entry == (kernel, architecture)
    (memory,) = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert memory == ("0", "0", "0"), log
    assert "lmem" not in log and "warning" not in log
    assert int(re.search(r"Used (\d+) registers", log)[1]) <= MAX_REGISTERS
    shared = re.search(r"(\d+) bytes smem", log)
    assert shared is None or int(shared[1]) <= MAX_SHARED_BYTES


def test_ptxas_tells_of_local_memory_so_that_its_absence_means_something(compiler) -> None:
    _, log = compiler.compile_with_log(SPILLING, "sm_75", ["--ptxas-options=-v"])
    assert "256 bytes stack frame" in log


def test_nvrtc_makes_ptx_for_a_virtual_architecture(compiler) -> None:
    ptx = compiler.compile(PLAIN, "compute_75").decode()
    assert ".target sm_75" in ptx and ".visible .entry plain(" in ptx and "\0" not in ptx


def test_a_broken_kernel_is_told_with_its_line(compiler) -> None:
    with pytest.raises(
        KernelError,
        match=rf'^{compiler.name} cannot compile broken.cu for sm_87:\n.*broken.cu\(3\): error: .*"nothing"',
    ):
        compiler.compile(BROKEN, "sm_87")


def test_an_unknown_gpu_is_told(compiler) -> None:
    with pytest.raises(KernelError, match="for sm_12345:\n.*invalid value for --gpu-architecture"):
        compiler.compile(PLAIN, "sm_12345")


def test_threads_compile_side_by_side(compiler) -> None:
    found = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: compiler.compile(PLAIN, name)}))
        for name in ARCHITECTURES[:4]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: compiler.compile(PLAIN, name) for name in ARCHITECTURES[:4]}


def test_a_library_that_is_no_nvrtc_is_told(tmp_path) -> None:
    (tmp_path / "libnvrtc.so.12").write_bytes(b"not a library")
    with pytest.raises(
        KernelError, match=r"libnvrtc.so.12 is no NVRTC of CUDA 11.1 or later that can be loaded: .*libnvrtc.so.12: "
    ):
        nvrtc.Nvrtc(str(tmp_path / "libnvrtc.so.12"))
    with pytest.raises(KernelError, match="libc.so.6 is no NVRTC .* undefined symbol: nvrtcVersion"):
        nvrtc.Nvrtc("libc.so.6")


def test_an_nvrtc_newer_than_the_driver_is_not_taken(compiler, monkeypatch) -> None:
    paths = [path for path in nvrtc.candidates() if nvrtc.Nvrtc(path).version == compiler.version]
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(paths))
    assert nvrtc.find(compiler.version).version == compiler.version
    assert nvrtc.find((compiler.version[0], 0)).version == compiler.version  # of the same major: its cubins are taken
    with pytest.raises(
        KernelError,
        match=rf"driver of CUDA 11.4 \({compiler.name} is newer than the driver.*pip install nvidia-cuda-nvrtc-cu11$",
    ):
        nvrtc.find((11, 4))


@pytest.mark.parametrize(("driver", "package"), [((12, 6), "nvidia-cuda-nvrtc-cu12"), ((13, 2), "nvidia-cuda-nvrtc")])
def test_without_nvrtc_the_package_is_named(monkeypatch, driver, package) -> None:
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(()))
    with pytest.raises(
        KernelError,
        match=rf"^found no NVRTC for a driver of CUDA {driver[0]}.{driver[1]}; install it with: pip install {package}$",
    ):
        nvrtc.find(driver)


def test_a_wheel_on_the_path_and_a_toolkit_are_found(tmp_path, monkeypatch) -> None:
    wheel, toolkit, named = tmp_path / "site", tmp_path / "local", tmp_path / "named"
    files = [
        wheel / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12",
        wheel / "nvidia" / "cu13" / "lib" / "libnvrtc.so.13",
        named / "lib64" / "libnvrtc.so",
        toolkit / "cuda-12.6" / "lib64" / "libnvrtc.so",
    ]
    for path in files:
        path.parent.mkdir(parents=True)
        path.touch()
    (wheel / "nvidia" / "cu13" / "lib" / "libnvrtc-builtins.so.13.0").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path / "absent"), str(wheel)])
    monkeypatch.setattr(nvrtc, "TOOLKITS", toolkit)
    monkeypatch.setattr(nvrtc, "SONAMES", ("libabsent.so.1",))
    monkeypatch.setenv("CUDA_HOME", str(named))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert sorted(nvrtc.candidates()) == sorted(map(str, files))


def test_nvcc_makes_a_cubin_and_ptx(toolkit) -> None:
    assert toolkit.compile(PLAIN, "sm_80").startswith(b"\x7fELF")
    assert b".target sm_80" in toolkit.compile(PLAIN, "compute_80")


@pytest.mark.parametrize("kernel", KERNELS)
def test_nvcc_takes_every_kernel(toolkit, kernel) -> None:
    assert toolkit.compile(source_of(kernel), "sm_87").startswith(b"\x7fELF")


def test_nvcc_tells_a_broken_kernel_with_its_line(toolkit) -> None:
    with pytest.raises(
        KernelError, match=rf'^{toolkit.name} cannot compile broken.cu for sm_87:\n.*broken.cu\(3\): error: .*"nothing"'
    ):
        toolkit.compile(BROKEN, "sm_87")


def test_no_nvcc_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nvcc, "TOOLKIT", tmp_path / "bin")
    with pytest.raises(
        KernelError, match=rf"^found no nvcc on PATH nor in {tmp_path}/bin; it comes with the CUDA toolkit 12.6$"
    ):
        nvcc.find((12, 6))


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo release 13.0, V13.0.48", r"^nvcc 13.0 \(.*\) is newer than the driver; install the CUDA toolkit 12.6"),
        ("echo hello", "does not tell its version"),
        ("echo no licence >&2; exit 3", "^no licence$"),
        ("exit 3", "nvcc ended with 3"),
    ],
)
def test_an_nvcc_that_will_not_do_is_told(monkeypatch, tmp_path, script, told) -> None:
    (tmp_path / "nvcc").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match=told):
        nvcc.find((12, 6))


def test_an_nvcc_that_cannot_be_run_is_told(tmp_path) -> None:
    with pytest.raises(KernelError, match="nvcc does not run: .*No such file"):
        nvcc.Nvcc(tmp_path / "nvcc")


class Counting:
    """A compiler that is quick, and counts."""

    def __init__(self, name: str = "counting 1.0") -> None:
        self.name, self.calls = name, 0

    def compile(self, source: Source, architecture: str) -> bytes:
        self.calls += 1
        if source is BROKEN:
            raise KernelError("broken")
        return f"{self.name} {source.text} {architecture}".encode()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hgedge" / "kernels"


def test_what_was_compiled_once_is_not_compiled_again(home) -> None:
    compiler = Counting()
    first = compiled(compiler, PLAIN, "sm_87")
    assert compiled(compiler, PLAIN, "sm_87") == first == compiler.compile(PLAIN, "sm_87")
    assert compiler.calls == 2  # one of them is the line above
    (kept,) = home.iterdir()
    assert kept.name.startswith("plain-sm_87-") and kept.read_bytes() == first


def test_another_source_header_gpu_or_compiler_is_another_entry(home) -> None:
    compiler = Counting()
    compiled(compiler, PLAIN, "sm_87")
    compiled(compiler, PLAIN, "sm_90")
    compiled(compiler, Source(PLAIN.name, PLAIN.text + " ", PLAIN.headers), "sm_87")
    compiled(compiler, Source(PLAIN.name, PLAIN.text, {"one.cuh": "#define ONE 2\n"}), "sm_87")
    compiled(Counting("counting 1.1"), PLAIN, "sm_87")
    assert compiler.calls == 4 and len(list(home.iterdir())) == 5


def test_a_kernel_that_does_not_compile_leaves_nothing(home) -> None:
    with pytest.raises(KernelError, match="broken"):
        compiled(Counting(), BROKEN, "sm_87")
    assert not home.exists()


def test_a_write_that_fails_leaves_nothing_and_stops_nobody(home, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    assert compiled(Counting(), PLAIN, "sm_87")
    assert list(home.iterdir()) == []


def test_without_a_place_to_keep_things_kernels_compile_all_the_same(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiler = Counting()
    assert compiled(compiler, PLAIN, "sm_87") == compiled(compiler, PLAIN, "sm_87")
    assert compiler.calls == 2


def test_the_cache_lies_where_xdg_says_or_at_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which XDG says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("kernels") == tmp_path / ".cache" / "hgedge" / "kernels"
