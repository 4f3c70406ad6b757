"""The PTX that hgedge brings: made from the kernels as they stand, for drivers as old as it says, and in the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hgedge.errors import KernelError
from hgedge.runtime.cuda import make_ptx, nvrtc, shipped, sources
from hgedge.runtime.cuda.shipped import VERSIONS
from hgedge.runtime.cuda.sources import KERNELS

ISA = {(11, 7): "7.7", (12, 0): "8.0", (13, 0): "9.0"}  # of PTX. Source: PTX manual, Release Notes
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_110", "sm_120")
REBUILD = "rebuild it: hgedge/runtime/cuda/README.md tells how"
SHIPPED = pytest.mark.parametrize(
    ("kernel", "version"), [(kernel, version) for kernel in KERNELS for version in VERSIONS]
)
BUILD = re.compile(rb"release \d+\.\d+, (V[\d.]+)")  # of the compiler, in the head of its PTX


@pytest.fixture(scope="module")
def ptxas() -> str:
    found = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")
    if found is None:
        pytest.skip("no ptxas on PATH nor in /usr/local/cuda/bin; it comes with the CUDA toolkit")
    return found


@SHIPPED
def test_it_was_made_from_the_sources_as_they_stand(kernel, version) -> None:
    ptx = shipped.path_of(kernel, version).read_bytes()
    assert ptx.startswith(shipped.header_of(kernel)), REBUILD
    assert shipped.read(kernel, version) == ptx


@SHIPPED
def test_it_suits_the_oldest_driver_and_gpu_that_it_is_for(kernel, version) -> None:
    ptx = shipped.read(kernel, version).decode("ascii")
    assert re.findall(r"^\.version (\S+)$", ptx, re.MULTILINE) == [ISA[version]]
    assert re.findall(r"^\.target (\S+)$", ptx, re.MULTILINE) == ["sm_75"]
    assert re.findall(r"\.entry (\w+)\(", ptx) == [kernel]


@SHIPPED
def test_the_same_nvrtc_makes_it_byte_for_byte(kernel, version) -> None:
    ptx = shipped.read(kernel, version)
    (build,) = BUILD.findall(ptx)
    for library in map(nvrtc.Nvrtc, nvrtc.candidates()):
        if library.version == version:
            again = make_ptx.make(kernel, library)
            if BUILD.findall(again) == [build]:
                assert again == ptx, REBUILD
                return
    pytest.skip(f"NVRTC {build.decode()} is not installed")


@SHIPPED
def test_it_assembles_for_every_gpu_without_spills(kernel, version, ptxas, tmp_path) -> None:
    for architecture in ARCHITECTURES:
        command = [ptxas, "-v", f"-arch={architecture}", "-o", tmp_path / "cubin", shipped.path_of(kernel, version)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stderr, done.stderr


def test_nothing_else_is_shipped() -> None:
    expected = {shipped.path_of(kernel, version) for kernel in KERNELS for version in VERSIONS}
    assert set(shipped.FOLDER.iterdir()) == expected


@pytest.mark.parametrize(
    ("driver", "version"),
    [((11, 7), (11, 7)), ((11, 8), (11, 7)), ((12, 0), (12, 0)), ((12, 2), (12, 0)), ((12, 6), (12, 0)),
     ((13, 0), (13, 0)), ((13, 2), (13, 0)), ((14, 1), (13, 0))],
)  # fmt: skip
def test_a_driver_gets_the_newest_that_it_takes(driver, version) -> None:
    assert shipped.choose(driver) == version


def test_a_driver_older_than_all_is_told() -> None:
    with pytest.raises(KernelError, match=r"brings PTX for drivers of CUDA 11.7 and later, but this one is of 11.4"):
        shipped.choose((11, 4))


@pytest.mark.parametrize("edited", ["decode.cu", "half.cuh"])
def test_an_edited_source_or_header_makes_it_stale(edited, tmp_path, monkeypatch) -> None:
    for path in (*sources.ROOM.glob("*.cu"), *sources.ROOM.glob("*.cuh")):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(sources, "ROOM", tmp_path)
    assert shipped.read("decode", (12, 0))
    (tmp_path / edited).write_text((tmp_path / edited).read_text() + "// edited\n")
    with pytest.raises(
        KernelError, match=r"decode.cuda-12.0.ptx was not made from decode.cu as it stands here; reinstall"
    ):
        shipped.read("decode", (12, 0))


def test_a_missing_file_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(
        KernelError, match=rf"cannot read {tmp_path}/decode.cuda-12.0.ptx: No such file.*; reinstall hgedge"
    ):
        shipped.read("decode", (12, 0))


def test_it_is_made_whole_or_not_at_all(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(make_ptx, "FOLDER", tmp_path / "ptx")
    (tmp_path / "wheels").mkdir()
    with pytest.raises(SystemExit) as stopped:
        make_ptx.main([str(tmp_path / "wheels")])
    assert stopped.value.code == 2
    assert "PTX is made with NVRTC 11.7, 12.0, 13.0, but found none; name their folders" in capsys.readouterr().err
    assert not (tmp_path / "ptx").exists()


def test_the_command_makes_what_is_asked_for_and_clears_what_is_old(tmp_path, monkeypatch, capsys) -> None:
    try:
        library = nvrtc.find((99, 0))
    except KernelError as error:
        pytest.skip(str(error))
    folder = tmp_path / "ptx"
    folder.mkdir()
    (folder / "decode.cuda-9.0.ptx").touch()
    for module in (shipped, make_ptx):
        monkeypatch.setattr(module, "FOLDER", folder)
        monkeypatch.setattr(module, "VERSIONS", (library.version,))
    make_ptx.main([])
    made = {shipped.path_of(kernel, library.version) for kernel in KERNELS}
    assert set(folder.iterdir()) == made
    assert {Path(line.partition(":")[0]) for line in capsys.readouterr().out.splitlines()} == made
    assert all(shipped.read(kernel, library.version).count(b".entry") == 1 for kernel in KERNELS)


def test_the_command_explains_itself(program_environment) -> None:
    command = [sys.executable, "-m", "hgedge.runtime.cuda.make_ptx", "--help"]
    done = subprocess.run(command, env=program_environment, capture_output=True, text=True)
    assert done.returncode == 0 and "libnvrtc.so" in done.stdout, done.stderr


def test_the_wheel_brings_it_and_the_sources(root, tmp_path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = [*shipped.FOLDER.iterdir(), *sources.ROOM.glob("*.cu"), *sources.ROOM.glob("*.cuh")]
    assert len(files) >= 3 * len(KERNELS) + len(KERNELS) + 1
    assert {path.relative_to(root).as_posix() for path in files} <= names
