"""Each mistake is put into a bundle that is whole, and must be called by its name, alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hgedge.builder import golden_crops
from hgedge.bundle import read_manifest
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.ranges import load_table
from hgedge.runtime import pipeline
from hgedge.runtime.decode import decode
from hgedge.runtime.golden import GOLDEN, load_golden
from hgedge.runtime.preprocess import normalise
from hgedge.spec import InputSpec
from hgedge.verify import graph
from hgedge.verify.replay import verify

ROUNDING = 1e-5  # FP32 in two libraries, of heatmaps that reach 1

KINDS = [(precision, backend) for backend in ("openvino", "onnxruntime") for precision in ("fp32", "int8")]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUTS = {  # what the engine is built with -> what it is to be called
    "color-swapped": {"color": "bgr"},
    "mean-missing": {"mean": (0.0,) * 3},
    "std-missing": {"std": (1.0,) * 3},
    "scale-missing": {"mean": tuple(m / 255 for m in MEAN), "std": tuple(s / 255 for s in STD)},
    "color-swapped, mean-missing": {"color": "bgr", "mean": (0.0,) * 3},
}


def names(bundle):
    return ", ".join(mistake.name for mistake in verify(bundle).mistakes)


def failing(report):
    return [stage.against for stage in report.stages if stage.ok is False]


QUICK = [(kind, name) for kind in KINDS for name in INPUTS if kind != KINDS[1] or name in list(INPUTS)[:2]]


@pytest.mark.parametrize(("kind", "name"), QUICK, ids=["-".join((*kind, name)) for kind, name in QUICK])
def test_an_engine_that_normalises_otherwise(wrong, kind, name):
    bundle = wrong(*kind)
    bundle.engine(**INPUTS[name])
    report = verify(bundle.measured() if name == "color-swapped" else bundle.done())
    assert ", ".join(mistake.name for mistake in report.mistakes) == name
    assert not report.ok
    where = {"openvino": "engine", "onnxruntime": "manifest.json, source.onnx or golden.npz"}
    assert {mistake.where for mistake in report.mistakes} == {where[kind[1]]}
    assert all(mistake.after < mistake.before / 2 for mistake in report.mistakes)


@pytest.mark.parametrize("name", INPUTS)
def test_a_manifest_that_tells_otherwise_than_the_engine_was_built(wrong, name):
    bundle = wrong("fp32", "openvino")
    spec = dataclasses.replace(bundle.manifest.input, **INPUTS[name])
    assert names(bundle.done(input=spec)) == name


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_left_and_right_exchanged(wrong, kind, flipped):
    bundle = wrong(*kind)
    bundle.engine(flipped(bundle.model, bundle.manifest.keypoints.flip_indices))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("flip-order", "model.onnx")]


def test_an_engine_alone_with_left_and_right_exchanged(wrong, flipped):
    bundle = wrong("int8", "openvino")
    bundle.engine_alone(flipped(bundle.model, bundle.manifest.keypoints.flip_indices))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("flip-order", "engine")]


def test_flip_indices_that_are_not_the_names(wrong):
    bundle = wrong("fp32", "onnxruntime")
    keypoints = dataclasses.replace(bundle.manifest.keypoints, flip_indices=tuple(range(14)))
    report = verify(bundle.done(keypoints=keypoints))
    assert [(one.name, one.where) for one in report.mistakes] == [("flip-order", "manifest.json")]
    assert failing(report) == ["left and right in the names"]


def in_its_precision(bundle, graph):
    """A float graph, quantised with the bundle's own ranges where the bundle is INT8."""
    if bundle.manifest.precision != "int8":
        return graph
    ranges = load_table(bundle.folder / "calibration.json")
    return quantize(graph, ranges, "stream", bundle.manifest.backend.name == "openvino")


def test_the_first_stack_is_the_networks(net, half, first_stack):
    """What stands for a build with --num-stacks 1."""
    import torch

    from hgedge.export.onnx_ends import run_onnx

    images = normalise(load_golden(half / GOLDEN).crops, read_manifest(half).input)
    graph = first_stack(onnx.load(half / "source.onnx")).SerializeToString()
    with torch.inference_mode():
        expected = net(torch.from_numpy(images), 1)[:, 0].numpy()
    np.testing.assert_allclose(run_onnx(graph, {"image": images}, "it")["heatmaps"], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_an_earlier_stack(wrong, half, kind, first_stack):
    bundle = wrong(*kind)
    bundle.engine(in_its_precision(bundle, first_stack(onnx.load(half / "source.onnx"))))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("wrong-stack", "model.onnx")]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_alone_of_an_earlier_stack(wrong, half, precision, first_stack):
    bundle = wrong(precision, "openvino")
    bundle.engine_alone(in_its_precision(bundle, first_stack(onnx.load(half / "source.onnx"))))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("wrong-stack", "engine")]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_half_a_pixel_before_the_network(wrong, kind, blurred):
    """In INT8 of the engine alone: what it costs a graph is more than half a pixel does."""
    bundle = wrong(*kind)
    if kind == ("int8", "onnxruntime"):
        pytest.skip("its engine is its graph")
    (bundle.engine_alone if kind[0] == "int8" else bundle.engine)(blurred(bundle.model))
    assert names(bundle.done()) == "half-pixel"


@pytest.mark.parametrize(("backend", "divisor"), [("openvino", 8), ("onnxruntime", 8), ("onnxruntime", 2)])
def test_ranges_that_are_too_small(wrong, half, backend, divisor):
    bundle = wrong("int8", backend)
    table = load_table(bundle.folder / "calibration.json").ranges
    small = {name: (low / divisor, high / divisor) for name, (low, high) in table.items()}
    bundle.engine(quantize(onnx.load(half / "source.onnx"), small, "stream", backend == "openvino"))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("saturated-int8", "model.onnx")]
    assert failing(report)[:2] == ["source.onnx", "INT8 ranges of model.onnx"]


@pytest.mark.parametrize("kind", KINDS[2:], ids="-".join)
def test_decoding_half_a_pixel_off(right, kind, monkeypatch):
    for wrong in (
        lambda *a: (decode(*a)[0] + np.float32(0.5), decode(*a)[1]),
        lambda *a: (decode(*a)[0] - np.float32(1.5), decode(*a)[1]),  # cell * stride
    ):
        monkeypatch.setattr(pipeline, "decode", wrong)
        report = verify(right(*kind))
        assert [(one.name, one.where) for one in report.mistakes] == [("half-pixel", "this machine")]
        assert failing(report) == ["plain decoding"]


def test_decoding_without_the_quarter(right, monkeypatch):
    monkeypatch.setattr(pipeline, "decode", lambda maps, stride, *rest: decode(maps, stride, 0))
    assert names(right("fp32", "onnxruntime")) == "quarter-shift"


def cropped(border="BORDER_CONSTANT", by=0.0, swap=False):
    """A crop with a mistake in it."""
    import cv2

    def crop(frame, affine, out):
        moved = affine + np.array([[0, 0, by], [0, 0, by]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (out.shape[1], out.shape[0])
        made = cv2.warpAffine(frame, moved, size, flags=flags, borderMode=getattr(cv2, border))
        out[...] = made[..., ::-1] if swap else made

    return crop


CROPS = {
    "padding": {"border": "BORDER_REPLICATE"},
    "half-pixel": {"by": 0.5},
    "color-swapped": {"swap": True},
}


@pytest.mark.parametrize("name", CROPS)
def test_cropping_of_this_machine(right, name, monkeypatch):
    assert names(right("fp32", "onnxruntime")) == ""
    monkeypatch.setattr(pipeline, "crop", cropped(**CROPS[name]))
    report = verify(right("fp32", "onnxruntime"))
    assert [(one.name, one.where) for one in report.mistakes] == [(name, "this machine")]


@pytest.mark.parametrize(("name", "precision"), [(name, "fp32") for name in CROPS])
def test_golden_inputs_cropped_otherwise(wide, name, precision, monkeypatch):
    """All parts of the bundle agree; only the photograph tells."""
    monkeypatch.setattr(golden_crops, "crop", cropped(**CROPS[name]))
    report = verify(wide(golden_crops.golden_crops(InputSpec((64, 128))), precision))
    assert [(one.name, one.where) for one in report.mistakes] == [(name, "golden.npz")]
    assert failing(report) == ["exact crop"]


def test_golden_inputs_with_black_sides_as_they_should_be(wide):
    assert verify(wide(golden_crops.golden_crops(InputSpec((64, 128))), "fp32")).ok


def test_golden_inputs_of_somebody_elses_are_not_judged(wrong):
    bundle = wrong("fp32", "onnxruntime")
    golden = load_golden(bundle.folder / GOLDEN)
    bundle.golden(crops=golden.crops[::-1], fp32_heatmaps=golden.fp32_heatmaps[::-1])
    report = verify(bundle.measured())
    assert report.ok
    (skipped,) = (stage for stage in report.stages if stage.max is None)
    assert (skipped.of, skipped.note) == ("golden input 0", "it does not show hgedge's own photograph")


@pytest.mark.parametrize("kind", [KINDS[0], *KINDS[2:]], ids="-".join)
def test_an_engine_that_is_not_the_measured_one(wrong, kind):
    bundle = wrong(*kind)
    with np.load(bundle.folder / GOLDEN) as arrays:
        bundle.golden(engine_heatmaps=arrays["engine_heatmaps"] * np.float32(1.1))
    report = verify(bundle.folder)
    assert [(one.name, one.where) for one in report.mistakes] == [("not-as-measured", "engine")]
    assert failing(report) == ["engine as measured"]


@pytest.mark.parametrize("kind", KINDS[::2], ids="-".join)
def test_another_network_is_none_of_them(wrong, half, kind):
    graph, rng = onnx.load(half / "source.onnx"), np.random.default_rng(0)
    for item in graph.graph.initializer:
        if item.name.endswith("conv2.weight"):
            item.CopyFrom(numpy_helper.from_array(rng.permutation(numpy_helper.to_array(item), axis=0), item.name))
    bundle = wrong(*kind)
    bundle.engine(in_its_precision(bundle, graph))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("unknown", "model.onnx")]


RIGHT = [*KINDS, ("fp16", "openvino"), ("bf16", "openvino"), *((*kind, "conv") for kind in KINDS if "int8" in kind)]


@pytest.mark.parametrize("kind", RIGHT, ids="-".join)
def test_right_bundles_pass(right, kind):
    report = verify(right(*kind))
    assert report.ok and not report.mistakes and failing(report) == []
    assert all(stage.max is not None for stage in report.stages)


@pytest.fixture
def no_runner(monkeypatch):
    """As on a Jetson, with neither ONNX Runtime nor OpenVINO beside the engine."""
    monkeypatch.setattr(graph, "RUNNERS", ())


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_without_a_library_that_runs_graphs(right, wrong, flipped, precision, no_runner):
    report = verify(right(precision, "onnxruntime"))
    assert report.ok
    skipped = [(stage.stage, stage.of) for stage in report.stages if stage.max is None]
    assert skipped == [("normalised input", "source.onnx"), ("heatmaps", "model.onnx")]
    bundle = wrong(precision, "onnxruntime")
    bundle.engine(flipped(bundle.model, bundle.manifest.keypoints.flip_indices))
    report = verify(bundle.done())
    assert [(one.name, one.where) for one in report.mistakes] == [("flip-order", "engine")]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_swapped_colours_without_a_library_that_runs_graphs(wrong, precision, no_runner):
    bundle = wrong(precision, "onnxruntime")
    bundle.engine(color="bgr")
    assert names(bundle.done()) == "color-swapped"


def test_heatmaps_that_are_not_finite(wrong):
    bundle = wrong("fp32", "onnxruntime")
    model = bundle.model
    (head,) = (node for node in model.graph.node if "heatmaps" in node.output)
    for item in model.graph.initializer:
        if item.name in head.input:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(np.nan), item.name))
    bundle.engine(model)
    assert names(bundle.done()) == "not-finite"


def test_golden_without_what_the_engine_gave(wrong):
    bundle = wrong("fp32", "onnxruntime")
    golden = load_golden(bundle.folder / GOLDEN)
    golden.save(bundle.folder / GOLDEN)
    report = verify(bundle.done())
    assert report.ok and "golden.npz does not tell what the engine gave" in [stage.note for stage in report.stages]
