from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from hgedge.doctor.attempts import Attempt
from hgedge.doctor.libraries import LIBRARIES, imported, libraries, older
from hgedge.doctor.nvidia import PYCUDA_LEAST
from hgedge.doctor.pictures import BELOW, LEAST


def requirements(root: Path, extra: str) -> str:
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return "\n".join(extras[extra])


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=lambda library: library.package)
def test_ranges_and_extras_are_those_of_the_package(root: Path, library) -> None:
    found = re.search(rf"(?m)^{re.escape(library.package)}>=([\d.]+)", requirements(root, library.extra))
    assert found is not None and found[1] == library.least


def test_so_are_those_of_opencv_and_pycuda(root: Path) -> None:
    assert f"opencv-python>={LEAST},<{BELOW}" in requirements(root, "video")
    assert f"pycuda>={PYCUDA_LEAST}" in requirements(root, "tensorrt")


@pytest.mark.parametrize(
    ("version", "least", "expected"),
    [
        ("2024.6.0", "2025.0", True),
        ("2025.0.0", "2025.0", False),
        ("2025", "2025.0", False),
        ("2.13.0+cpu", "2.6", False),
        ("2.5.1+cu124", "2.6", True),
        ("1.9", "1.18", True),
        ("10.3.0.30", "10.3", False),
        ("unknown", "1.0", False),
        ("", "1.0", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, least: str, expected: bool) -> None:
    assert older(version, least) is expected


@pytest.mark.parametrize(
    ("tried", "state", "found", "fix"),
    [
        (Attempt("2026.4.1-22982-abc", {"devices": ["CPU"]}), "ok", "2026.4.1 (CPU); ", None),
        (
            Attempt(error="No module named 'openvino'", missing="openvino"),
            "missing",
            "not installed",
            "'hgedge[openvino]'",
        ),
        (Attempt("2024.6.0", {"devices": []}), "broken", "2024.6.0 is too old", "pip install 'openvino>=2025.0'"),
        (
            Attempt(error="bad magic"),
            "broken",
            "bad magic",
            "pip install --force-reinstall --no-deps 'openvino>=2025.0'",
        ),
        (Attempt(error="its import crashes Python (SIGSEGV)"), "broken", "SIGSEGV", "--force-reinstall"),
        (
            Attempt(error="libgomp.so.1: cannot open shared object file: No such file or directory"),
            "broken",
            "libgomp.so.1",
            "sudo apt install libgomp1",
        ),
    ],
)
def test_states_of_openvino(tried: Attempt, state: str, found: str, fix: str | None) -> None:
    check = imported("openvino", tried)
    assert check.state == state and found in check.found
    assert check.fix == fix if fix is None else fix in check.fix


@pytest.mark.parametrize(("cuda", "words"), [(None, "for CPUs"), ("13.0", "for CUDA 13.0")])
def test_which_torch(cuda: str | None, words: str) -> None:
    assert words in imported("torch", Attempt("2.13.0", {"cuda": cuda})).found


def test_libraries_that_are_only_listed(make_machine) -> None:
    checks = {
        check.name: check for check in libraries(make_machine(packages={"onnxsim": "0.4.1", "safetensors": "0.8"}))
    }
    assert (checks["onnxsim"].state, checks["onnxsim"].fix) == ("broken", "pip install 'onnxsim>=0.4.36'")
    assert checks["safetensors"].state == "ok"
    assert (checks["onnxscript"].state, checks["onnxscript"].fix) == ("missing", "pip install 'hgedge[export]'")
