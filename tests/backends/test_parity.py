"""The default model on real photographs: engines of the same graph agree, whatever runs them.

INT8 engines are held to two things (hgedge/evaluation/parity.py says why): one is no farther from another than from
itself on input that is moved by 0.06 grey levels, and on average over many such inputs they are the same.
Heatmaps of the same engine, so moved: 2 to 4 % (`conv`) or 6 to 8 % (`stream`) apart.
"""

import numpy as np
import pytest

import hgedge.datasets
from hgedge import geometry
from hgedge.builder import BuildOptions, build
from hgedge.evaluation.parity import clear_joints, nudged, relative_rmse, share_within
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import crop, normalise
from hgedge.sources.images import read_picture

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

PEOPLE = 60
MAX_RMSE = 0.02  # relative, of heatmaps
SAME_PX = 0.5
MIN_SAME = 0.99  # of clear joints
DRAWS = 16
NOISE_SPREAD = 1.25  # two distances of the same kind differ by up to 13 % here
JOINTS_SPREAD = 0.03  # 14 joints of 60 people


@pytest.fixture(scope="module")
def crops(shared_data):
    people = hgedge.datasets.open(shared_data / "lspet", "val").people[:: 597 // PEOPLE][:PEOPLE]
    out = np.empty((len(people), 192, 192, 3), np.uint8)
    for person, buffer in zip(people, out):
        crop(read_picture(person.image), geometry.frame_from_input(person.box_xyxy, (192, 192)), buffer)
    return out


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """(precision, backend, placement) -> a bundle of the default model."""
    output = tmp_path_factory.mktemp("engines")
    kinds = [("fp32", backend, "stream") for backend in ("torch", "openvino", "onnxruntime")]
    kinds += [
        ("int8", backend, placement) for backend in ("openvino", "onnxruntime") for placement in ("conv", "stream")
    ]
    return {
        kind: build(BuildOptions(precision=kind[0], backend=kind[1], placement=kind[2], output=output)).bundle
        for kind in kinds
    }


def heatmaps_of(bundle, crops):
    with load(bundle) as pipeline:
        return np.concatenate([np.array(pipeline.session.run(crops[i : i + 1])) for i in range(len(crops))])


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_fp32_engines_agree_with_torch(bundles, crops, backend):
    engine, baseline = (heatmaps_of(bundles["fp32", name, "stream"], crops) for name in (backend, "torch"))
    assert relative_rmse(engine, baseline) <= MAX_RMSE
    clear = clear_joints(baseline)
    assert clear.mean() > 0.3  # or the next line says little
    assert share_within(engine, baseline, SAME_PX, clear) >= MIN_SAME


class Graph:
    """A bundle's graph in one runtime, on normalised float input."""

    def __init__(self, bundle, backend):
        path = str(bundle / "model.onnx")
        if backend == "onnxruntime":
            import onnxruntime

            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            self.run = lambda images: session.run(["heatmaps"], {"image": images})[0]
        else:
            import openvino

            compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            self.run = lambda images: np.concatenate([np.array(compiled(image[None])[0]) for image in images])


@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_int8_engines_are_no_farther_apart_than_one_from_itself(bundles, crops, placement):
    bundle = bundles["int8", "openvino", placement]
    with load(bundle) as pipeline:
        images = normalise(crops, pipeline.input)
    reference = Graph(bundle, "onnxruntime")
    here, again = reference.run(images), reference.run(nudged(images, 0))
    engine = heatmaps_of(bundle, crops)
    assert relative_rmse(engine, here) <= NOISE_SPREAD * relative_rmse(again, here)
    clear = clear_joints(here)
    assert share_within(engine, here, SAME_PX, clear) >= share_within(again, here, SAME_PX, clear) - JOINTS_SPREAD


@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_int8_engines_agree_on_average(bundles, crops, placement):
    bundle = bundles["int8", "openvino", placement]
    with load(bundle) as pipeline:
        images = normalise(crops[:6], pipeline.input)
    means = [
        np.mean([graph.run(nudged(images, first + draw)) for draw in range(DRAWS)], axis=0)
        for first, graph in ((0, Graph(bundle, "openvino")), (DRAWS, Graph(bundle, "onnxruntime")))
    ]
    assert relative_rmse(*means) <= MAX_RMSE


def test_onnx_runtime_gets_the_signed_graph(bundles, crops):
    import onnx

    kinds = {
        backend: {
            item.data_type for item in onnx.load(bundles["int8", backend, "conv"] / "model.onnx").graph.initializer
        }
        for backend in ("openvino", "onnxruntime")
    }
    assert onnx.TensorProto.UINT8 in kinds["openvino"] and onnx.TensorProto.UINT8 not in kinds["onnxruntime"]
    fp32 = heatmaps_of(bundles["fp32", "onnxruntime", "stream"], crops[:20])
    int8 = heatmaps_of(bundles["int8", "onnxruntime", "conv"], crops[:20])
    assert 0.01 < relative_rmse(int8, fp32) < 0.25
