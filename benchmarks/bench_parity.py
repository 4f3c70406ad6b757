"""Engines of the same graph on people of LSPET val: how far apart, and how far one is from itself on nudged input."""

import numpy as np
import pytest

from hgedge.builder import BuildOptions, build
from hgedge.evaluation.parity import clear_joints, nudged, relative_rmse, share_within
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import normalise

pytestmark = pytest.mark.soak

PIXELS = (0.5, 2.0, 4.0)
KINDS = [("fp32", "stream"), ("int8", "conv"), ("int8", "stream")]


def distance(one, two):
    clear = clear_joints(two)
    return {
        "relative_rmse": round(relative_rmse(one, two), 5),
        "clear_joints": int(clear.sum()),
        **{f"clear_joints_within_{pixels:g}_px": round(share_within(one, two, pixels, clear), 4) for pixels in PIXELS},
    }


@pytest.fixture(scope="module")
def fp32(heatmaps_of, tmp_path_factory):
    return heatmaps_of(
        build(BuildOptions(precision="fp32", backend="torch", output=tmp_path_factory.mktemp("e"))).bundle
    )


@pytest.mark.parametrize(("precision", "placement"), KINDS)
def test_parity(val_crops, heatmaps_of, fp32, precision, placement, tmp_path, save):
    import onnxruntime

    options = {"precision": precision, "placement": placement, "output": tmp_path}
    bundle = build(
        BuildOptions(backend="openvino", **options)
    ).bundle  # ONNX Runtime gets the graph that it was built from
    with load(bundle) as pipeline:
        images = normalise(val_crops, pipeline.input)
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    reference, again = (session.run(["heatmaps"], {"image": each})[0] for each in (images, nudged(images, 0)))
    engine = heatmaps_of(bundle)
    save(
        f"parity-default-{precision}-{placement}",
        {
            "people": len(val_crops),
            "OpenVINO from ONNX Runtime": distance(engine, reference),
            "ONNX Runtime from itself, nudged": distance(again, reference),
            "OpenVINO from eager PyTorch FP32": distance(engine, fp32),
            "ONNX Runtime from eager PyTorch FP32": distance(reference, fp32),
        },
    )
    assert np.isfinite(engine).all()
