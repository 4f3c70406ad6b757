"""Calibration: what it costs, how many pictures are enough and which, and what each method gives.

`SIZES` and the rest are what a quiet machine of two cores does in a few minutes.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hgedge.benchmark.environment import machine_name
from hgedge.builder import BuildOptions, build
from hgedge.builder.selection import SELECTIONS
from hgedge.evaluation.evaluate import evaluate
from hgedge.evaluation.parity import relative_rmse
from hgedge.quantization.methods import METHODS

pytestmark = pytest.mark.soak

RESULTS = Path(__file__).parent / "results"
IMAGES = 256
SIZES = (32, 64, 128, 256, 512)
SEEDS = {"spread": (0,), "covering": (0, 1, 2)}  # what the draw of the first picture changes is the noise of a point
PERCENTILES = ("percentile-99.9", "percentile-99.999")
PLACEMENTS = ("stream", "conv")
METRIC = "PCK@0.2 pooled"
COST = """
import json, resource, sys, time
import onnx
from pathlib import Path
import hgedge.datasets
from hgedge.builder.calibration import from_dataset
from hgedge.builder.observe import observed
from hgedge.progress import no_progress
from hgedge.spec import InputSpec
root, graph, method, images, *methods = sys.argv[1:]
chosen = from_dataset(Path(root), hgedge.datasets.open(root, "train"), int(images), method)
started = time.perf_counter()
statistics = observed(chosen, "names1-0", onnx.load(graph), InputSpec(), no_progress)
seconds = {"pictures": round(time.perf_counter() - started, 2)}
for each in methods:
    started = time.perf_counter()
    statistics.ranges(each)
    seconds[each] = round(time.perf_counter() - started, 2)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mib": round(peak)}))
"""


@pytest.fixture(scope="module")
def measured(lspet, heatmaps_of, tmp_path_factory):
    """measured(recipe, placement): points lost and error of the default model, calibrated by a recipe's fields."""
    folder = tmp_path_factory.mktemp("engines")  # one for all: what pictures showed is kept there
    fp32 = build(BuildOptions(precision="fp32", backend="openvino", output=folder)).bundle
    exact, metrics = heatmaps_of(fp32), evaluate(str(fp32), lspet, "val")["metrics"]

    def measure(placement, **fields):
        recipe = folder / "recipe.toml"
        recipe.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items()))
        options = BuildOptions(
            backend="openvino", calibration=recipe, data=lspet, placement=placement, output=folder, force=True
        )
        bundle = build(options).bundle
        found = evaluate(str(bundle), lspet, "val")["metrics"]
        return {
            **{name: value for name, value in fields.items() if name != "dataset"},
            "placement": placement,
            "drop": {name: round(value - found[name], 3) for name, value in metrics.items()},
            "heatmap_rmse": round(relative_rmse(heatmaps_of(bundle), exact), 5),
        }

    return measure


@pytest.mark.parametrize(
    ("name", "methods"), [("extremes", METHODS[:2]), ("histograms", ("percentile-99.99", *METHODS[3:]))]
)
def test_cost(hg2, lspet, tmp_path, save, name, methods):
    """Seconds and memory for hg2 at 256x256, in a process of its own; methods of one kind share the run of pictures."""
    from hgedge.checkpoints import load_checkpoint
    from hgedge.export.to_onnx import onnx_from_network

    checkpoint = load_checkpoint(hg2)
    graph = tmp_path / "hg2.onnx"
    graph.write_bytes(onnx_from_network(checkpoint.net, checkpoint.input, 2).SerializeToString())
    words = [lspet, graph, methods[0], IMAGES, *methods]
    done = subprocess.run([sys.executable, "-c", COST, *map(str, words)], stdout=subprocess.PIPE, check=True)
    cost = json.loads(done.stdout)
    save(f"hg2-calibration-{name}", {"images": IMAGES, **cost})
    assert cost["peak_mib"] < 2048


def test_size_and_selection(measured, save, request):
    """How many pictures are enough, and whether it matters which."""
    curve = [
        measured("stream", dataset="lspet", images=images, selection=selection, seed=seed)
        for images in SIZES
        for selection in SELECTIONS
        for seed in SEEDS[selection]
    ]
    save("default-calibration-size", curve)
    if request.config.getoption("--hgedge-save"):
        draw(curve, RESULTS / machine_name() / "default-calibration-size.png")
    assert all(np.isfinite(row["heatmap_rmse"]) for row in curve)


def test_methods_and_placements(measured, save):
    table = [
        measured(placement, dataset="lspet", images=IMAGES, method=method)
        for method in (*METHODS, *PERCENTILES)
        for placement in PLACEMENTS
    ]
    save("default-calibration-methods", table)
    errors = {row["method"]: row["heatmap_rmse"] for row in table if row["placement"] == "stream"}
    assert min(errors, key=errors.get) == "mean-minmax"  # else it should not be the default


def draw(curve, path):
    """Points lost and error over the number of pictures, a line a selection."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    values = {
        f"{METRIC}, points lost": lambda row: row["drop"][METRIC],
        "heatmaps, relative RMSE": lambda row: row["heatmap_rmse"],
    }
    for axes, (label, value) in zip(figure.subplots(1, 2), values.items()):
        for selection, color in zip(SELECTIONS, ("#1f6f8b", "#c8553d")):
            rows = [row for row in curve if row["selection"] == selection]
            axes.plot([row["images"] for row in rows], [value(row) for row in rows], "o", color=color, markersize=4)
            means = [np.mean([value(row) for row in rows if row["images"] == images]) for images in SIZES]
            axes.plot(SIZES, means, color=color, label=selection)
        axes.set_xscale("log", base=2)
        axes.set(xticks=SIZES, xticklabels=SIZES, xlabel="calibration pictures", title=label)
        axes.axhline(0, color="#b8c4c9", linewidth=0.8)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
