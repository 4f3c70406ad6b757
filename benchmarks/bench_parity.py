"""Engines of the same graph on people of LSPET val: how far apart, and how far one is from itself on nudged input."""

import numpy as np
import pytest

import hgedge.datasets
from hgedge import geometry
from hgedge.builder import BuildOptions, build
from hgedge.evaluation.parity import clear_joints, nudged, relative_rmse, share_within
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import crop, normalise
from hgedge.sources.images import read_picture

PEOPLE = 100
PIXELS = (0.5, 2.0, 4.0)
KINDS = [("fp32", "stream"), ("int8", "conv"), ("int8", "stream")]


@pytest.fixture(scope="module")
def crops(lspet):
    people = hgedge.datasets.open(lspet, "val").people
    chosen = [people[index] for index in np.linspace(0, len(people) - 1, PEOPLE).astype(int)]
    out = np.empty((PEOPLE, 192, 192, 3), np.uint8)
    for person, buffer in zip(chosen, out):
        crop(read_picture(person.image), geometry.frame_from_input(person.box_xyxy, (192, 192)), buffer)
    return out


def heatmaps_of(bundle, crops):
    with load(bundle) as pipeline:
        return np.concatenate([np.array(pipeline.session.run(crops[i : i + 1])) for i in range(len(crops))])


def distance(one, two):
    clear = clear_joints(two)
    return {
        "relative_rmse": round(relative_rmse(one, two), 5),
        "clear_joints": int(clear.sum()),
        **{f"clear_joints_within_{pixels:g}_px": round(share_within(one, two, pixels, clear), 4) for pixels in PIXELS},
    }


@pytest.fixture(scope="module")
def fp32(crops, tmp_path_factory):
    return heatmaps_of(
        build(BuildOptions(precision="fp32", backend="torch", output=tmp_path_factory.mktemp("e"))).bundle, crops
    )


@pytest.mark.parametrize(("precision", "placement"), KINDS)
def test_parity(crops, fp32, precision, placement, tmp_path, save):
    import onnxruntime

    options = {"precision": precision, "placement": placement, "output": tmp_path}
    bundle = build(
        BuildOptions(backend="openvino", **options)
    ).bundle  # ONNX Runtime gets the graph that it was built from
    with load(bundle) as pipeline:
        images = normalise(crops, pipeline.input)
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    reference, again = (session.run(["heatmaps"], {"image": each})[0] for each in (images, nudged(images, 0)))
    engine = heatmaps_of(bundle, crops)
    save(
        f"parity-default-{precision}-{placement}",
        {
            "people": PEOPLE,
            "OpenVINO from ONNX Runtime": distance(engine, reference),
            "ONNX Runtime from itself, nudged": distance(again, reference),
            "OpenVINO from eager PyTorch FP32": distance(engine, fp32),
            "ONNX Runtime from eager PyTorch FP32": distance(reference, fp32),
        },
    )
    assert np.isfinite(engine).all()
