"""How far an INT8 engine is from the sum of its convolutions, each timed alone, and where the rest goes."""

from collections import Counter, defaultdict

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge.backends.openvino.profile import profile_model
from hgedge.benchmark.layers import profile
from hgedge.benchmark.timing import interleaved, percentiles
from hgedge.builder import BuildOptions, build
from hgedge.bundle import file_of, read_manifest
from hgedge.runtime.pipeline import load

ROUNDS = 100
STEP = 0.05  # scale of activations; any does for speed


@pytest.fixture(scope="module", params=["default", "hg2"])
def bundle(request, lspet, tmp_path_factory):
    if request.param == "default":
        return build(BuildOptions(precision="int8", backend="openvino", output=tmp_path_factory.mktemp("e"))).bundle
    return request.getfixturevalue("hg2_int8").bundle


def test_where_the_time_goes(bundle, save):
    manifest = read_manifest(bundle)
    with load(bundle) as engine:
        crops = np.zeros((1, *engine.input.hw, engine.input.channels), np.uint8)
        wall = interleaved({"engine": lambda: engine.session.run(crops)}, rounds=ROUNDS, pause_s=0.002)["engine"]
    layers = profile(bundle, ROUNDS)
    convolutions = convolutions_of(onnx.load(file_of(bundle, manifest, "model.onnx")))
    alone = {shape: time_alone(*shape) for shape in convolutions}
    in_place, others = sum_of(layers)
    total_alone = sum(alone[shape] * count for shape, count in convolutions.items())
    engine_ms = float(np.median(wall))
    results = {
        "engine_ms": percentiles(wall),
        "convolutions_alone_ms": round(total_alone, 4),
        "engine_over_convolutions_alone": round(engine_ms / total_alone, 4),
        "convolutions_in_place_ms": round(in_place, 4),
        "other_layers_ms": others,
        "between_layers_ms": round(engine_ms - in_place - sum(others.values()), 4),
        "gmac_per_s_alone": rates(convolutions, alone),
        "convolutions": [
            {
                "in": i,
                "out": o,
                "kernel": k,
                "stride": s,
                "in_hw": hw,
                "count": n,
                "ms": round(alone[i, o, k, s, hw], 5),
            }
            for (i, o, k, s, hw), n in convolutions.items()
        ],
    }
    save(f"floor-{manifest.model.name}-int8", results)
    assert 0 < total_alone < engine_ms  # else the clocks do not measure the same thing


def sum_of(layers):
    """Milliseconds of the convolutions, and of all other layers by kind."""
    others = defaultdict(float)
    for layer in layers:
        others[layer.kind] += layer.ms
    in_place = others.pop("Convolution")
    return in_place, {kind: round(ms, 4) for kind, ms in sorted(others.items(), key=lambda item: -item[1]) if ms}


def convolutions_of(model):
    """(channels in, out, kernel, stride, (h, w) of the input) -> how many INT8 convolutions are so."""
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.input)
    }
    makers = {node.output[0]: node for node in model.graph.node}
    weights = {item.name: item.dims for item in model.graph.initializer}
    found = Counter()
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in makers:  # the head reads its weight as it is
            out, channels, kernel, _ = weights[makers[node.input[1]].input[0]]
            stride = next((item.ints[0] for item in node.attribute if item.name == "strides"), 1)
            found[channels, out, kernel, stride, tuple(shapes[node.input[0]][2:])] += 1
    return found


def time_alone(channels, out, kernel, stride, hw):
    """Milliseconds of one convolution from UINT8 to UINT8, in a model of its own, by the engine's counter."""
    random = np.random.default_rng(0)
    constants = {
        "scale": np.float32(STEP),
        "zero": np.uint8(0),
        "weight": random.integers(-127, 128, (out, channels, kernel, kernel)).astype(np.int8),
        "steps": np.full(out, 0.01, np.float32),
        "zeros": np.zeros(out, np.int8),
        "bias": np.zeros(out, np.float32),
    }
    pad = kernel // 2
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weight", "steps", "zeros"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bias"], ["c"], strides=[stride] * 2, pads=[pad] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "scale", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "alone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, *hw])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    given = random.integers(0, 256, (1, channels, *hw)).astype(np.float32)
    timed = profile_model(ov.Core().read_model(model.SerializeToString()), "int8", given, ROUNDS)
    (layer,) = [each for each in timed if each.kind == "Convolution"]
    assert layer.precision == "u8"
    return float(np.median(layer.samples_ms))


def rates(convolutions, alone):
    """GMAC/s of the convolutions of each kernel size, timed alone."""
    work, time = defaultdict(float), defaultdict(float)
    for shape, count in convolutions.items():
        channels, out, kernel, stride, (height, width) = shape
        size = f"{kernel}x{kernel}"
        work[size] += count * channels * out * kernel**2 * (height // stride) * (width // stride) / 1e9
        time[size] += count * alone[shape] / 1e3
    return {size: round(work[size] / time[size], 1) for size in work}
