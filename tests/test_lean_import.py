"""An edge device installs few libraries: importing rooms that run there must load none of the heavy ones."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "cv2",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "openvino",
    "pycuda",
    "rich",
    "safetensors",
    "scipy",
    "tensorrt",
    "torch",
    "typer",
)


def loaded_by(statement: str, environment: dict[str, str], extra: tuple[str, ...] = ()) -> list[str]:
    """Which heavy libraries a statement loads in a fresh process."""
    names = (*HEAVY, *extra)
    code = f"{statement}\nimport json, sys\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_package_loads_nothing_at_all(program_environment: dict[str, str]) -> None:
    assert loaded_by("import hgedge", program_environment, ("numpy", "dacite")) == []


@pytest.mark.parametrize(
    "module",
    [
        "hgedge.runtime",
        "hgedge.runtime.pipeline",
        "hgedge.sources",
        "hgedge.backends",
        "hgedge.bundle",
        "hgedge.device",
    ],
)
def test_rooms_of_the_edge_load_nothing_heavy(module: str, program_environment: dict[str, str]) -> None:
    assert loaded_by(f"import {module}", program_environment) == []


def test_the_command_line_loads_no_heavy_library_before_it_needs_one(program_environment: dict[str, str]) -> None:
    assert set(loaded_by("import hgedge.cli.main", program_environment)) <= {"rich", "typer"}


def test_the_check_sees_what_is_loaded(program_environment: dict[str, str]) -> None:
    assert loaded_by("import typer", program_environment, ("numpy",))[-1] == "typer"
