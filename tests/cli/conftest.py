"""A bundle of a tiny network, built by the program itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def built(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, program_environment: dict[str, str]):
    """The finished `hgedge build --json` of a tiny FP32 engine, in a folder with its engines/ inside."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    folder = tmp_path_factory.mktemp("work")
    command = [sys.executable, "-m", "hgedge", "build", str(tiny_checkpoint), "--precision", "fp32", "--json"]
    return subprocess.run(command, cwd=folder, env=program_environment, capture_output=True, text=True), folder


@pytest.fixture(scope="session")
def bundle(built) -> Path:
    done, folder = built
    assert done.returncode == 0, done.stderr
    return folder / json.loads(done.stdout)["bundle"]


@pytest.fixture(scope="session")
def astronaut(root: Path) -> Path:
    return root / "hgedge" / "pictures" / "astronaut.jpg"
