"""Engines of every named model in every precision, with TensorRT-RTX: what the builder is given, and what it makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hgedge.backends.tensorrt.build import PRECISIONS, build_engine
from hgedge.backends.tensorrt.network import describe, parse
from hgedge.models.zoo import SIZES

pytestmark = [pytest.mark.tensorrt, pytest.mark.slow]

BLOCK, TEXT = 4096, 0.9  # a block of a plan with more printable characters than this is source code
MAX_HALF_SIZE, MAX_INT8_SIZE = 0.6, 0.4  # of what is not source code in an FP32 engine: weights, and a little more
MAX_TWO_PROFILES = 1.25  # of an engine with one: a second profile has kernels of its own, but no weights


@pytest.mark.parametrize("name", SIZES)
def test_the_builder_gets_the_types_that_were_asked_for(rtx, onnx_file, name):
    count = sum(node.op_type == "Conv" for node in onnx.load(onnx_file(name, "fp32")).graph.node)
    fp32, fp16, int8 = (describe(parse(onnx_file(name, precision), rtx).network) for precision in PRECISIONS)
    assert {found.layers["CONVOLUTION"] for found in (fp32, fp16, int8)} == {count}
    assert set(fp32.tensors) == {"FLOAT"} and fp32.convolutions == {"FLOAT": count} and "CAST" not in fp32.layers
    assert fp16.tensors["FLOAT"] == 2 and set(fp16.tensors) == {"FLOAT", "HALF"}  # the graph's ends
    assert fp16.convolutions == {"HALF": count} and fp16.layers["CAST"] == 2
    assert int8.tensors["FLOAT"] == 2 and set(int8.tensors) == {"FLOAT", "HALF", "INT8"}
    assert int8.convolutions == {"INT8": count - 1, "HALF": 1} and int8.layers["CAST"] == 2  # the head is not INT8


@pytest.mark.parametrize("name", SIZES)
def test_weights_shrink_with_the_precision(rtx, onnx_file, tmp_path, name):
    fp32, fp16, int8 = (bytes_of_weights(rtx, onnx_file(name, precision), (1,), tmp_path) for precision in PRECISIONS)
    assert fp16 < MAX_HALF_SIZE * fp32
    assert int8 < MAX_INT8_SIZE * fp32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_profiles_share_weights(rtx, onnx_file, tmp_path, precision):
    one, two = (bytes_of_weights(rtx, onnx_file("default", precision), batch, tmp_path) for batch in ((1,), (1, 8)))
    assert two < MAX_TWO_PROFILES * one


def bytes_of_weights(rtx, model, batch, folder):
    """Size of an engine without the source code of its kernels.

    That is some 0.14 MB for each kernel that differs from the others, if only in a constant such as a tensor's scale:
    a hundred of them in an INT8 engine of two stacks, thirteen in an FP16 one.
    """
    told = []
    build_engine(model, folder / "engine.plan", batch, rtx, lambda *step: told.append(step))
    stages, done, totals = zip(*told)
    assert set(stages) == {"engine"} and list(done) == sorted(done) and done[-1] == totals[-1] > 100
    plan = np.fromfile(folder / "engine.plan", np.uint8)
    blocks = plan[: len(plan) // BLOCK * BLOCK].reshape(-1, BLOCK)
    printable = ((blocks >= 32) & (blocks < 127)) | (blocks == ord("\n"))
    return int((printable.mean(axis=1) < TEXT).sum()) * BLOCK
