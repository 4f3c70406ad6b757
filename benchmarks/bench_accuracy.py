"""The default model on LSPET's validation split: FP32 in PyTorch, INT8 as it ships."""

import pytest

from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def fp32(lspet):
    return evaluate("default", lspet, "val")


@pytest.mark.parametrize("placement", ["stream", "conv"])
def test_default_int8_against_fp32(placement, fp32, lspet, tmp_path, save):
    report = build(BuildOptions(precision="int8", backend="openvino", placement=placement, output=tmp_path))
    int8 = evaluate(str(report.bundle), lspet, "val")
    drop = {name: round(value - int8["metrics"][name], 3) for name, value in fp32["metrics"].items()}
    save(f"default-accuracy-{placement}", {"fp32": fp32, "int8": int8, "drop": drop})
    assert fp32["metrics"]["PCK@0.2 pooled"] >= 50
    assert drop["PCK@0.2 pooled"] <= 0.5
