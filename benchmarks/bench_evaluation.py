"""What the flip test, averaging stacks and other decodings buy on LSPET's validation split, and what they cost."""

import numpy as np
import pytest

import hgedge.datasets
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import pipeline_of, predict
from hgedge.evaluation.labels import chosen_people, labels_of
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import report
from hgedge.runtime.pipeline import load
from hgedge.spec import DecodeSpec

pytestmark = pytest.mark.soak

WAYS = {
    "straight": {},
    "flip test": {"flip_test": True},
    "stacks averaged": {"average_stacks": True},
    "flip test, stacks averaged": {"flip_test": True, "average_stacks": True},
}
DECODINGS = {
    "quarter": DecodeSpec(),
    "no shift": DecodeSpec(shift=0),
    "dark": DecodeSpec(refinement="dark"),
}
DECODED = ("PCK@0.2 pooled", "PCK@0.1 pooled", "PCK@0.05 pooled")
ROUNDS = 40
LEARNT_PEOPLE = 500  # of the training split
LIMBS = {"legs": [0, 1, 2, 3, 4, 5], "arms": [6, 7, 8, 9, 10, 11]}  # of LSP's joints


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


def test_ways_of_decoding_the_default(lspet, save, tmp_path):
    """The same FP32 heatmaps; each against the quarter, on the same people."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    dataset = hgedge.datasets.open(lspet, "val")
    everyone, found = np.arange(len(dataset)), {}
    with load(build(BuildOptions(precision="fp32", backend="openvino", output=tmp_path)).bundle) as pipeline:
        assert pipeline.decode == DECODINGS["quarter"]
        for name, spec in DECODINGS.items():
            pipeline.decode = spec
            found[name] = predict(pipeline, dataset, everyone)
    labels = labels_of(dataset, everyone)
    told = {name: report(predictions, labels, found["quarter"]) for name, predictions in found.items()}
    results = {
        name: {
            "metrics": {metric: document["metrics"][metric] for metric in DECODED},
            "gain": {metric: document["intervals"][metric]["difference"] for metric in DECODED},
        }
        for name, document in told.items()
    }
    people = {key: told["quarter"][key] for key in ("num_people", "num_left_out", "num_keypoints")}
    save("default-decoding", {"engine": "openvino fp32", **people, "decodings": results})
    assert results["no shift"]["gain"]["PCK@0.05 pooled"]["points"] < 0


def test_what_limits_the_default(lspet, save):
    """People whom it has learnt from, and others, as predicted and with an oracle for left and right."""
    pipeline, results = pipeline_of("default"), {}
    for split, limit in (("train", LEARNT_PEOPLE), ("val", None)):
        dataset = hgedge.datasets.open(lspet, split)
        chosen = chosen_people(len(dataset), limit)
        labels = labels_of(dataset, chosen)
        found = predict(pipeline, dataset, chosen)
        told = report(sides_of_labels(found, dataset, chosen), labels)
        results[split] = {
            "people": len(chosen),
            "metrics": report(found, labels)["metrics"],
            "metrics with left and right told": told["metrics"],
        }
    save("default-limits", results)
    plain, told = (results["val"][f"metrics{which}"]["PCK@0.2 pooled"] for which in ("", " with left and right told"))
    assert told > plain


def sides_of_labels(found, dataset, chosen):
    """Predictions whose arms, and whose legs, change sides where that brings them nearer to the labels."""
    keypoints, flip = found.keypoints.copy(), list(dataset.keypoint_set.flip_indices)
    for row, index in enumerate(chosen):
        person = dataset.people[index]
        straight, swapped = (
            np.where(person.labelled, np.linalg.norm(points - person.keypoints, axis=-1), 0)
            for points in (found.keypoints[row], found.keypoints[row][flip])
        )
        for limb in LIMBS.values():
            if swapped[limb].sum() < straight[limb].sum():
                keypoints[row, limb] = found.keypoints[row][flip][limb]
    return Predictions(keypoints, found.scores)
