"""The default model's Pareto on people of LSPET val: stacks x input sizes x precisions x placements."""

import shutil
import time
from pathlib import Path

import pytest

from hgedge.benchmark.environment import machine_name
from hgedge.builder import BuildOptions
from hgedge.sweep.files import save as save_files
from hgedge.sweep.model import Axes
from hgedge.sweep.recommend import recommendations
from hgedge.sweep.start import sweep

POINTS, UNDER_MS = 1.0, 5.0
MOST_S = 900.0  # on two cores, with nothing noted before


@pytest.mark.soak
def test_default_sweep(lspet, save, tmp_path, request):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    started = time.monotonic()
    noisy = request.config.getoption("--hgedge-noisy")
    options = BuildOptions("default", backend="openvino")
    outcome = sweep(options, Axes(), lspet, "val", allow_noise=noisy)
    seconds = time.monotonic() - started
    document = save_files(tmp_path, outcome, recommendations(outcome.document["rows"], POINTS, UNDER_MS))
    for each in document["recommendations"]:
        each["recipe"] = each["recipe"] and Path(each["recipe"]).name
    save("default-sweep", {"seconds": round(seconds, 1), **document})
    if request.config.getoption("--hgedge-save"):
        results = request.config.getoption("--hgedge-results")
        shutil.copyfile(tmp_path / "sweep.png", results / machine_name() / "default-sweep.png")
    assert all(row["accuracy"] is not None for row in document["rows"])
    assert seconds <= MOST_S
