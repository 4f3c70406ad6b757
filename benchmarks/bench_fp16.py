"""What FP16 arithmetic loses, simulated: an FP32 graph that rounds every tensor, beside the FP32 engine."""

import dataclasses
import time

import pytest

from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report

pytestmark = pytest.mark.soak

MAX_DROP = {"default": 0.05, "face68": 0.05, "face15": 0.25}  # points; face15 has peaks of nearly equal height
FACE15 = "checkpoints/face15_hourglass/kd_epoch_1049_model.ckpt"
MODELS = {  # data set, its split, and the loose and the tight threshold
    "default": ("lspet", "val", "PCK@0.2 pooled", "PCK@0.05 pooled"),
    "face68": ("faces", "val", "within@0.1 pooled", "within@0.03 pooled"),
    "face15": ("faces", "val15", "within@0.1 pooled", "within@0.03 pooled"),
}


def drop_of(model, root, output, limit=None):
    """FP32's and FP16's accuracy; of face15, whose labels define points otherwise, against FP32's peaks too."""
    folder, split, *thresholds = MODELS[model]
    source = str(root / FACE15) if model == "face15" else model
    dataset, labels = open_people(root / folder, split, limit)
    bundles = {p: build(BuildOptions(source, p, "openvino", output=output)) for p in ("fp32", "fp16")}
    fp32 = predictions_of(str(bundles["fp32"].bundle), dataset, labels.indices)
    started = time.monotonic()
    fp16 = predictions_of(str(bundles["fp16"].bundle), dataset, labels.indices, simulate_fp16=True)
    seconds = time.monotonic() - started
    by_labels = [report(each, labels)["metrics"] for each in (fp32, fp16)]
    if model == "face15":
        labels = dataclasses.replace(labels, keypoints=fp32.keypoints)
    before, after = report(fp32, labels), report(fp16, labels, against=fp32)
    return {
        "simulated": "fp16",
        "people": len(labels),
        "labels": "FP32's peaks" if model == "face15" else labels.data,
        "drop": {name: round(before["metrics"][name] - after["metrics"][name], 3) for name in thresholds},
        "drop_by_labels": {name: round(by_labels[0][name] - by_labels[1][name], 3) for name in thresholds},
        "difference": {name: after["intervals"][name]["difference"] for name in thresholds},
        "fp32": before["metrics"],
        "fp16": after["metrics"],
        "kept_fp32": bundles["fp16"].kept_fp32,
        "simulated_agreement_on_golden_inputs": bundles["fp16"].simulated_agreement,
        "simulation_s": round(seconds, 1),
    }


@pytest.mark.parametrize("model", MODELS)
def test_drop(model, lspet, tmp_path, save):
    root = lspet.parent
    needed = [root / MODELS[model][0], *([root / FACE15] if model == "face15" else [])]
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    results = drop_of(model, root, tmp_path)
    save(f"fp16-{model}-simulated", results)
    assert results["drop"][MODELS[model][2]] <= MAX_DROP[model]
