"""What the flip test and averaging stacks buy on LSPET's validation split, and what they cost."""

import numpy as np

import hgedge.datasets
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.evaluation.evaluate import pipeline_of, predict
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.report import report

WAYS = {
    "straight": {},
    "flip test": {"flip_test": True},
    "stacks averaged": {"average_stacks": True},
    "flip test, stacks averaged": {"flip_test": True, "average_stacks": True},
}
ROUNDS = 40


def test_ways_of_evaluating_the_default(lspet, save):
    dataset = hgedge.datasets.open(lspet, "val")
    everyone = np.arange(len(dataset))
    labels = labels_of(dataset, everyone)
    pipelines = {name: pipeline_of("default", **how) for name, how in WAYS.items()}
    found = {name: predict(pipeline, dataset, everyone) for name, pipeline in pipelines.items()}
    picture, box = dataset.people[0].read(), dataset.people[0].box_xyxy
    runs = {name: lambda pipeline=pipeline: pipeline(picture, [box]) for name, pipeline in pipelines.items()}
    samples = interleaved(runs, rounds=ROUNDS, pause_s=0.01)
    results = {
        name: {
            "metrics": (document := report(predictions, labels, found["straight"]))["metrics"],
            "gain": {metric: interval["difference"] for metric, interval in document["intervals"].items()},
            "latency_ms": percentiles(samples[name]),
            "times_slower": ratio(samples[name], samples["straight"]),
        }
        for name, predictions in found.items()
    }
    save("default-evaluation", {"people": len(dataset), "ways": results})
    assert results["straight"]["gain"]["PCK@0.2 pooled"]["points"] == 0
    assert all(np.isfinite(predictions.keypoints).all() for predictions in found.values())
