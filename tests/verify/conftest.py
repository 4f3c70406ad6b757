"""Right bundles of a small network, and ways to make whole ones that are wrong in one way."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hgedge import backends
from hgedge.builder import BuildOptions, build
from hgedge.bundle import open_bundle, read_manifest, seal
from hgedge.errors import BackendUnavailable
from hgedge.export.onnx_ends import run_onnx
from hgedge.quantization.ranges import MIN_IMAGES
from hgedge.runtime.golden import GOLDEN, Golden, load_golden, measure
from hgedge.runtime.preprocess import normalise
from hgedge.spec import InputSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="session")
def net(lively):
    """Two stacks of one level, 16 features, 14 keypoints, seeded weights, lively BatchNorm statistics."""
    return lively(num_stacks=2, num_features=16, depth=1, num_keypoints=14)


@pytest.fixture(scope="session")
def half(net, tmp_path_factory):
    """The portable half of the network; every engine is built from it."""
    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import LSP14

    folder = tmp_path_factory.mktemp("half")
    path = folder / "small.safetensors"
    save_checkpoint(path, net, name="small", input=InputSpec((64, 64), "rgb", MEAN, STD), keypoints=LSP14, half=False)
    return build(BuildOptions(model=str(path), precision="fp32", engine=False, output=folder)).bundle


@pytest.fixture(scope="session")
def figures(tmp_path_factory):
    """A folder of drawn figures to calibrate with."""
    import cv2

    from hgedge.visualization.figures import figure_picture

    folder = tmp_path_factory.mktemp("figures")
    for seed in range(100, 100 + MIN_IMAGES):
        cv2.imwrite(str(folder / f"{seed}.png"), figure_picture((64, 64), seed)[0])
    return folder


@pytest.fixture(scope="session")
def right(half, figures, tmp_path_factory):
    """right(precision, backend, placement): a bundle as it should be."""

    @functools.cache
    def make(precision, backend, placement="stream"):
        return engine_of(half, figures, tmp_path_factory.mktemp("engines"), precision, backend, placement)

    return make


def engine_of(half, figures, output, precision, backend, placement="stream"):
    pytest.importorskip(backend, reason=f"needs {backend}: pip install 'hgedge[{backend}]'")
    calibration = {"calibration": figures, "calibration_images": MIN_IMAGES} if precision == "int8" else {}
    options = BuildOptions(
        model=str(half), precision=precision, backend=backend, placement=placement, output=output, **calibration
    )
    try:
        return build(options).bundle
    except BackendUnavailable as error:  # BF16 on a CPU without it
        pytest.skip(str(error))


class Wrong:
    """A copy of a bundle in the making; `done` and `measured` seal it."""

    def __init__(self, folder):
        self.folder, self.manifest = folder, open_bundle(folder)

    @property
    def model(self):
        return onnx.load(self.folder / "model.onnx")

    def engine(self, model=None, **input):
        """Build the engine again: of another graph, or with another normalisation than the manifest tells."""
        if model is not None:
            (self.folder / "model.onnx").write_bytes(model.SerializeToString())
        told = dataclasses.replace(self.manifest, input=dataclasses.replace(self.manifest.input, **input))
        if input and told.backend.name == "onnxruntime":  # it reads the manifest when it runs
            self.manifest = told
        backends.builder(told.backend.name).build(self.folder, told)

    def engine_alone(self, model):
        """Build the engine of another graph than the bundle shows."""
        shown = (self.folder / "model.onnx").read_bytes()
        self.engine(model)
        (self.folder / "model.onnx").write_bytes(shown)

    def golden(self, **arrays):
        """Let golden.npz hold other arrays."""
        with np.load(self.folder / GOLDEN) as held:
            np.savez_compressed(self.folder / GOLDEN, **{**held, **arrays})
        seal(self.folder, read_manifest(self.folder))

    def done(self, **manifest):
        self.manifest = seal(self.folder, dataclasses.replace(self.manifest, **manifest))
        return self.folder

    def measured(self):
        """What a builder with the same mistake would have made of it."""
        self.done()
        session = backends.sessions(self.manifest.backend.name).load(self.folder, self.manifest)
        measured, golden = measure(session, self.manifest, load_golden(self.folder / GOLDEN))
        session.close()
        golden.save(self.folder / GOLDEN)
        self.manifest = measured
        return self.done()


@pytest.fixture
def wrong(right, tmp_path):
    """wrong(precision, backend): a copy to make a mistake in."""

    def make(*kind):
        return Wrong(shutil.copytree(right(*kind), tmp_path / "wrong"))

    return make


@pytest.fixture(scope="session")
def wide(half, figures, tmp_path_factory):
    """wide(crops, precision): a bundle of a 64 x 128 input, whose sides the photograph leaves black."""

    def make(crops, precision):
        folder = tmp_path_factory.mktemp("wide")
        manifest = open_bundle(half)
        copy = shutil.copytree(half, folder / "half")
        graph = onnx.load(copy / "source.onnx")
        del graph.graph.value_info[:]
        for end, size in ((graph.graph.input[0], 128), (graph.graph.output[0], 32)):
            end.type.tensor_type.shape.dim[3].dim_value = size
        content = graph.SerializeToString()
        for name in ("source.onnx", "model.onnx"):
            (copy / name).write_bytes(content)
        spec = dataclasses.replace(manifest.input, hw=(64, 128))
        made = run_onnx(content, {"image": normalise(crops, spec)}, "wide")["heatmaps"]
        Golden(crops, made).save(copy / GOLDEN)
        seal(copy, dataclasses.replace(manifest, input=spec))
        return engine_of(copy, figures, folder, precision, "openvino")

    return make


@pytest.fixture(scope="session")
def first_stack(net):
    """first_stack(model): the first stack's heatmaps of a two-stack FP32 graph, with the network's own first head."""

    def make(model):
        graph = model.graph
        features = next(node.input[0] for node in graph.node if node.name == "merge_features.0")
        (head,) = (node for node in graph.node if "heatmaps" in node.output)
        for item in graph.initializer:
            if item.name in head.input:
                own = net.outs[0].weight if item.name.endswith("weight") else net.outs[0].bias
                item.CopyFrom(numpy_helper.from_array(own.detach().numpy(), item.name))
        head.input[0] = features
        needed, nodes = {"heatmaps"}, []
        for node in reversed(graph.node):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.insert(0, node)
        weights = [item for item in graph.initializer if item.name in needed]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(weights)
        return model

    return make


@pytest.fixture(scope="session")
def flipped():
    """flipped(model, indices): the graph with its heatmaps in another order."""

    def make(model, indices):
        (head,) = (node for node in model.graph.node if "heatmaps" in node.output)
        for item in model.graph.initializer:
            if item.name in head.input:
                item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item)[list(indices)], item.name))
        return model

    return make


@pytest.fixture(scope="session")
def blurred():
    """blurred(model): the graph before which every pixel becomes the mean of itself and those right of and below it."""

    def make(model):
        for node in model.graph.node:
            node.input[:] = ["half" if name == "image" else name for name in node.input]
        first = helper.make_node("AveragePool", ["image"], ["half"], "half", kernel_shape=[2, 2], pads=[0, 0, 1, 1])
        model.graph.node.insert(0, first)
        return model

    return make
