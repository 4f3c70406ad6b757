"""What INT8 costs: three trained networks, both placements, each drop with its paired interval.

The face15 checkpoint comes from other labels than its data here, so it is also scored against what FP32 itself finds.
"""

import dataclasses

import numpy as np
import pytest

from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report

PLACEMENTS = ("stream", "conv")
FACE15 = "checkpoints/face15_hourglass/kd_epoch_1049_model.ckpt"
MODELS = {  # data set, split, loose metric, tight metric
    "default": ("lspet", "val", "PCK@0.2 pooled", "PCK@0.05 pooled"),
    "face68": ("faces", "val", "within@0.1 pooled", "within@0.03 pooled"),
    "face15": ("faces", "val15", "within@0.1 pooled", "within@0.03 pooled"),
}
MAX_LOOSE, MAX_TIGHT = 0.3, 0.8  # points


@pytest.mark.parametrize("model", MODELS)
def test_int8_loses_little(model, lspet, tmp_path, save):
    data, split, loose, tight = MODELS[model]
    folder = lspet.parent / data
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    source = {"model": str(lspet.parent / FACE15), "calibration": folder} if model == "face15" else {"model": model}
    dataset, labels = open_people(folder, split)
    options = {**source, "backend": "openvino", "output": tmp_path}
    bundles = {"fp32": build(BuildOptions(precision="fp32", **options)).bundle}
    for placement in PLACEMENTS:
        bundles[placement] = build(BuildOptions(precision="int8", placement=placement, **options)).bundle
    found = {name: predictions_of(str(bundle), dataset, labels.indices) for name, bundle in bundles.items()}
    truths = {"labels": labels}
    if model == "face15":
        everything = np.ones_like(labels.labelled)
        truths["what FP32 finds"] = dataclasses.replace(labels, keypoints=found["fp32"].keypoints, labelled=everything)
    results = {truth: drops(found, against) for truth, against in truths.items()}
    save(f"{model}-int8-drop", {"people": len(labels), "metrics": {"loose": loose, "tight": tight}, "drop": results})
    best = min(-results["labels"][placement][loose]["points"] for placement in PLACEMENTS)
    best_tight = min(-results["labels"][placement][tight]["points"] for placement in PLACEMENTS)
    assert best <= MAX_LOOSE
    assert best_tight <= MAX_TIGHT


def drops(found, labels):
    """Placement -> metric -> what FP32 gets, and the points gained over it with their 95 % interval."""
    fp32 = report(found["fp32"], labels)["metrics"]
    told = {}
    for placement in PLACEMENTS:
        intervals = report(found[placement], labels, found["fp32"])["intervals"]
        told[placement] = {
            name: {"fp32": fp32[name], **interval["difference"]}
            for name, interval in intervals.items()
            if "difference" in interval
        }
    return told
