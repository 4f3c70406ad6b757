"""Simulated FP16 against NumPy's float16, bit by bit, on random graphs with random layers kept in FP32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from hgedge.quantization.half import to_half
from hgedge.quantization.simulated_half import simulated_half

HW, CHANNELS, LAYERS = 64, 4, 7


def random_graph(graph_maker, seed):
    """Convolutions, ReLUs and additions, each of what stands before; multiples of 1/8, so FP32 sums are exact."""
    g = graph_maker(seed)
    g.conv("image", "t0", (CHANNELS, 3))
    for index in range(1, LAYERS):
        one, two = (f"t{place}" for place in g.rng.integers(0, index, 2))
        kind = g.rng.choice(["Conv", "Relu", "Add"])
        if kind == "Conv":
            g.conv(one, f"t{index}", (CHANNELS, CHANNELS))
        else:
            g.node(kind, [one, two] if kind == "Add" else [one], f"t{index}")
    g.conv(f"t{LAYERS - 1}", "outs", (2, CHANNELS), out="heatmaps")
    for item in g.constants:
        item.CopyFrom(numpy_helper.from_array(np.rint(numpy_helper.to_array(item) * 8) / np.float32(8), item.name))
    kept = {node.output[0] for node in g.nodes if g.rng.random() < 0.4}
    return g.model(2), kept


def in_numpy(model, image, kept):
    """Every layer in FP32, its result rounded to float16 if the layer is not kept, and so what it reads."""
    rounded = lambda values: values.astype(np.float16).astype(np.float32)  # noqa: E731
    known = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer} | {"image": image}
    for node in model.graph.node:
        half = node.output[0] not in kept
        read = [rounded(known[name]) if half else known[name] for name in node.input]
        if node.op_type == "Conv":
            made = np.einsum("nihw,oi->nohw", read[0], read[1][:, :, 0, 0]) + read[2][:, None, None]
        else:
            made = np.maximum(read[0], 0) if node.op_type == "Relu" else read[0] + read[1]
        known[node.output[0]] = rounded(made) if half else made
    return known["heatmaps"]


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_are_numpys_bit_by_bit(graph_maker, run, seed):
    model, kept = random_graph(graph_maker, seed)
    image = (np.random.default_rng(seed).integers(-256, 256, (2, 3, HW, HW)) / 64).astype(np.float32)
    half = to_half(model, kept)
    (made,) = run(simulated_half(half), image)
    np.testing.assert_array_equal(made, in_numpy(model, image, kept))
    assert (made != run(model, image)[0]).any() or kept >= {node.output[0] for node in model.graph.node}
    check_casts(model, half, kept)


def check_casts(model, half, kept):
    """Each tensor that crosses a border has one Cast, and nothing else has any."""
    made = {node.output[0] for node in model.graph.node}
    whole = kept | {"image"}
    crossing = {"heatmaps"} - kept
    for node in model.graph.node:
        crossing |= {name for name in {*node.input} & (made | whole) if (name in whole) != (node.output[0] in kept)}
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert len(casts) == len({node.input[0] for node in casts}) == len(crossing)
    inferred = onnx.shape_inference.infer_shapes(half, strict_mode=True).graph
    types = {item.name: item.type.tensor_type.elem_type for item in (*inferred.value_info, *inferred.output)}
    for node in half.graph.node:
        if node.op_type != "Cast":
            in_float = node.output[0].removesuffix(".half") in kept
            assert types[node.output[0]] == (TensorProto.FLOAT if in_float else TensorProto.FLOAT16)


def test_overflow_and_subnormals_are_float16s(graph_maker, run):
    g = graph_maker()
    g.constant("outs.weight", np.eye(3).reshape(3, 3, 1, 1))
    g.node("Conv", ["image", "outs.weight"], "heatmaps")
    image = np.zeros((1, 3, HW, HW), np.float32)
    values = np.array([65504, 65519, 65520, -70000, 6e-8, 2e-8, 5.96e-8, 1 + 2**-11, 1 + 3 * 2**-11], np.float32)
    image[0, 0, 0, : len(values)] = values
    (made,) = run(simulated_half(to_half(g.model(3))), image)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(made[0, 0, 0, : len(values)], expected)
