"""What INT8 costs: three trained networks, every method and placement, each drop with its paired interval.

The face15 checkpoint comes from other labels than its data here, so it is also scored against what FP32 itself finds.
"""

import dataclasses

import numpy as np
import pytest

from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report
from hgedge.quantization.methods import METHODS

pytestmark = pytest.mark.soak

PLACEMENTS = ("stream", "conv")
FACE15 = "checkpoints/face15_hourglass/kd_epoch_1049_model.ckpt"
MODELS = {  # data set, split, loose metric, tight metric, calibration recipe
    "default": ("lspet", "val", "PCK@0.2 pooled", "PCK@0.05 pooled", "lspet-256"),
    "face68": ("faces", "val", "within@0.1 pooled", "within@0.03 pooled", "faces68-256"),
    "face15": ("faces", "val15", "within@0.1 pooled", "within@0.03 pooled", "faces68-256"),
}
DEFAULT_METHOD = METHODS[0]
MAX_LOOSE, MAX_TIGHT = 0.3, 0.8  # points


@pytest.mark.parametrize("model", MODELS)
def test_int8_loses_little(model, lspet, request, tmp_path, save):
    data, split, loose, tight, recipe = MODELS[model]
    folder = lspet.parent / data
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    dataset, labels = open_people(folder, split)
    source = str(lspet.parent / FACE15) if model == "face15" else model
    options = {"model": source, "backend": "openvino", "output": tmp_path, "force": True}
    calibration = {"calibration": request.config.rootpath / f"calibration/{recipe}.toml", "data": folder}

    def found_by(**changes):
        bundle = build(BuildOptions(**options, **changes)).bundle
        return predictions_of(str(bundle), dataset, labels.indices)

    fp32 = found_by(precision="fp32")
    found = {
        (method, placement): found_by(placement=placement, calibration_method=method, **calibration)
        for method in METHODS
        for placement in PLACEMENTS
    }
    truths = {"labels": labels}
    if model == "face15":
        everything = np.ones_like(labels.labelled)
        truths["what FP32 finds"] = dataclasses.replace(labels, keypoints=fp32.keypoints, labelled=everything)
    rows = [
        {"against": truth, "method": method, "placement": placement, **gains(each, fp32, known, (loose, tight))}
        for truth, known in truths.items()
        for (method, placement), each in found.items()
    ]
    save(f"{model}-int8-drop", {"people": len(labels), "loose": loose, "tight": tight, "rows": rows})
    usual = [row for row in rows if row["against"] == "labels" and row["method"] == DEFAULT_METHOD]
    assert min(-row[loose]["points"] for row in usual) <= MAX_LOOSE
    assert min(-row[tight]["points"] for row in usual) <= MAX_TIGHT


def gains(found, fp32, labels, metrics):
    """Metric -> what FP32 gets, and the points gained over it with their 95 % interval."""
    intervals = report(found, labels, fp32)["intervals"]
    before = report(fp32, labels)["metrics"]
    return {name: {"fp32": before[name], **intervals[name]["difference"]} for name in metrics}
