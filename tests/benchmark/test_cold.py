"""The first pose of a fresh process."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hgedge.benchmark.cold import cold_start
from hgedge.builder import BuildOptions, build
from hgedge.errors import ConfigError, EngineMismatch

STEPS = ("started_ms", "import_ms", "load_ms", "first_pose_ms")
ROUNDED_MS = 0.3  # five numbers of one decimal
BALLAST_MIB = 400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """The shipped model, whose graph is at hand: nothing is exported."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    output = tmp_path_factory.mktemp("engines")
    return build(BuildOptions(precision="fp32", backend="openvino", output=output)).bundle


def test_steps_add_up_to_what_a_user_waits(bundle: Path) -> None:
    ballast = np.ones(BALLAST_MIB << 20, np.uint8)  # of this process; a fresh one must not count it
    started = time.monotonic()
    found = cold_start(bundle, runs=1)
    waited_ms = 1e3 * (time.monotonic() - started)
    assert ballast.nbytes / 2**20 == BALLAST_MIB
    assert tuple(found) == (*STEPS, "total_ms", "peak_memory_mib", "runs")
    assert all(found[step] > 0 for step in STEPS)
    assert found["total_ms"] == pytest.approx(sum(found[step] for step in STEPS), abs=ROUNDED_MS)
    assert found["total_ms"] < waited_ms
    assert 30 < found["peak_memory_mib"] < BALLAST_MIB
    assert found["runs"] == 1


def test_a_bundle_that_is_not_there_or_not_whole(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineMismatch, match="gone does not exist; make one with: hgedge build"):
        cold_start(tmp_path / "gone")
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / "model.onnx").unlink()
    with pytest.raises(EngineMismatch, match="lacks model.onnx"):
        cold_start(broken)
    with pytest.raises(ConfigError, match="needs one run or more, but got 0"):
        cold_start(bundle, runs=0)


def test_what_fails_in_the_fresh_process_is_told(bundle: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('no such luck')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineMismatch, match=r"must get a pose from .*, but it failed: .*no such luck.*hgedge verify"):
        cold_start(bundle, runs=1)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(EngineMismatch, match="but it failed: exit code 1"):
        cold_start(bundle, runs=1)
