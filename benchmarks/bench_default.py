"""The default model: accuracy on LSPET's validation split and latency, as each engine of this machine ships it."""

import cv2
import pytest

from hgedge import device
from hgedge.backends.openvino.build import BF16_FLAGS
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import evaluate, pipeline_of

BASELINE = "torch fp32"
ROUNDS = 60


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Name -> what `pipeline_of` takes."""
    output = tmp_path_factory.mktemp("engines")
    bf16 = [("bf16", "stream")] if set(BF16_FLAGS) & set(device.cpu().features) else []
    made = {BASELINE: "default"}
    for precision, placement in [("fp32", "stream"), *bf16, ("int8", "stream"), ("int8", "conv")]:
        name = f"openvino {precision}" + (f", {placement}" if precision == "int8" else "")
        options = BuildOptions(precision=precision, backend="openvino", placement=placement, output=output)
        made[name] = str(build(options).bundle)
    return made


def test_accuracy(bundles, lspet, save):
    accuracy = {name: evaluate(target, lspet, "val") for name, target in bundles.items()}
    fp32 = accuracy[BASELINE]["metrics"]
    drop = {
        name: {metric: round(fp32[metric] - value, 3) for metric, value in document["metrics"].items()}
        for name, document in accuracy.items()
    }
    save("default-accuracy", {"accuracy": accuracy, "drop": drop})
    assert fp32["PCK@0.2 pooled"] >= 50
    assert all(lost["PCK@0.2 pooled"] <= 0.5 for lost in drop.values())


def test_latency(bundles, lspet, save):
    photograph = cv2.imread(str(lspet / "images" / "im00003.jpg"))
    pipelines = {name: pipeline_of(target) for name, target in bundles.items()}
    runs = {name: lambda pipeline=pipeline: pipeline(photograph) for name, pipeline in pipelines.items()}
    samples = interleaved(runs, rounds=ROUNDS, pause_s=0.01)
    results = {
        name: {
            "latency_ms": percentiles(taken),
            "speedup_over_baseline": ratio(samples[BASELINE], taken),
            "samples_ms": taken.round(4).tolist(),
        }
        for name, taken in samples.items()
    }
    save("default-latency", results)
    assert results["openvino int8, stream"]["speedup_over_baseline"] > results["openvino fp32"]["speedup_over_baseline"]
