"""Float graphs to quantise, and photographs to calibrate with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "lspet" / "images"
INPUT_HW = (64, 64)


class GraphMaker:
    """Nodes named after their output, with seeded weights."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, operation: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self, x: str, name: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1, out: str = ""
    ) -> str:
        made, read = channels
        weight = self.rng.normal(size=(made, read, kernel, kernel)) / np.sqrt(read * kernel**2)
        weights = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", self.rng.normal(size=made))]
        return self.node("Conv", [x, *weights], out or name, pads=[kernel // 2] * 4, strides=[stride] * 2)

    def norm_relu(self, x: str, name: str, channels: int) -> str:
        values = (self.rng.uniform(0.5, 2, channels) for _ in range(4))
        names = [self.constant(f"{name}.{part}", value) for part, value in zip(("w", "b", "mean", "var"), values)]
        return self.node("Relu", [self.node("BatchNormalization", [x, *names], name)], f"{name}.relu")

    def model(self, output_channels: int, opset: int = 17) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, *INPUT_HW])
        heatmaps = helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["N", output_channels, None, None])
        graph = helper.make_graph(self.nodes, "test", [image], [heatmaps], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def small_hourglass(swapped: bool = False) -> onnx.ModelProto:
    """Every structure that a placement tells apart, once: two-convolution Add, pooled skip, upsample, merge, head."""
    g = GraphMaker()

    def add(first: str, second: str, name: str) -> str:
        return g.node("Add", [second, first] if swapped else [first, second], name)

    x = g.node("Relu", [g.conv("image", "stem", (8, 3), kernel=3, stride=2)], "stem.relu")
    y = g.node("Relu", [g.conv(g.norm_relu(x, "r1.bn1", 8), "r1.conv1", (6, 8))], "r1.conv1.relu")
    x = add(g.conv(x, "r1.skip", (12, 8)), g.conv(y, "r1.conv2", (12, 6)), "r1.add")
    low = g.node("MaxPool", [x], "r1.add.pool", kernel_shape=[2, 2], strides=[2, 2])
    low = add(low, g.conv(g.norm_relu(low, "r2.bn1", 12), "r2.conv1", (12, 12), kernel=3), "r2.add")
    scales = g.constant("up.scales", np.array([1, 1, 2, 2]))
    asks = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    low = g.node("Resize", [low, "", scales], "r2.add.up", **asks)
    up = add(x, g.conv(g.norm_relu(x, "r3.bn1", 12), "r3.conv1", (12, 12)), "r3.add")
    x = add(up, low, "hg.add")
    y = g.node("Relu", [g.conv(x, "features", (12, 12))], "features.relu")
    x = add(x, g.conv(y, "merge", (12, 12)), "merge.add")
    y = g.node("Relu", [g.conv(g.norm_relu(x, "last.bn", 12), "last.conv", (12, 12))], "last.conv.relu")
    g.conv(y, "outs.0", (4, 12), out="heatmaps")
    return g.model(4)


@pytest.fixture(scope="session")
def make_small() -> Callable[..., onnx.ModelProto]:
    return small_hourglass


@pytest.fixture(scope="session")
def small() -> onnx.ModelProto:
    return small_hourglass()


@pytest.fixture(scope="session")
def graph_maker() -> type[GraphMaker]:
    return GraphMaker


@pytest.fixture(scope="session")
def export_hourglass() -> Callable[..., onnx.ModelProto]:
    """Export so many stacks of a seeded hourglass whose normalisation statistics are not those of a fresh network."""
    torch = pytest.importorskip("torch")
    export = pytest.importorskip("hgedge.export.to_onnx")
    from hgedge.models.hourglass import HourglassConfig, HourglassNet
    from hgedge.spec import InputSpec

    torch.manual_seed(0)
    net = HourglassNet(HourglassConfig(num_stacks=2, num_features=32, depth=2, num_keypoints=5)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    return lambda num_stacks: export.onnx_from_network(net, InputSpec(hw=INPUT_HW), num_stacks)


@pytest.fixture(scope="session")
def hourglass(export_hourglass) -> onnx.ModelProto:
    return export_hourglass(2)


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Normalised (3, 64, 64) float32."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python is not installed")
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"no photographs: {PHOTOGRAPHS} is not there")
    files = sorted(PHOTOGRAPHS.glob("*.jpg"))[::100][:40]
    resized = (cv2.resize(cv2.imread(str(file)), INPUT_HW, interpolation=cv2.INTER_AREA) for file in files)
    return [np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1), np.float32) / 255 for picture in resized]


@pytest.fixture(scope="session")
def noise() -> list[np.ndarray]:
    """Pictures of smooth noise for tests of structure, (3, 64, 64) float32."""
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 1, (3, *INPUT_HW)).astype(np.float32) for _ in range(4)]


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[..., list[np.ndarray]]]:
    """Run a model in ONNX Runtime as the graph says it, without rewrites; the named tensors of one batch."""
    ort = pytest.importorskip("onnxruntime")

    def run_model(model: onnx.ModelProto, batch: np.ndarray, *names: str) -> list[np.ndarray]:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        known = {output.name for output in wide.graph.output} | {"image"}
        wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(wide.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = session.run([name for name in names if name != "image"] or ["heatmaps"], {"image": batch})
        made = iter(made)
        return [batch if name == "image" else next(made) for name in names or ("heatmaps",)]

    yield run_model
