"""OpenVINO engines against eager PyTorch on real photographs: same crops in, same heatmaps out."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest

from hgedge import device
from hgedge.backends import builder, choose
from hgedge.backends.torch.session import TorchSession
from hgedge.builder import BuildOptions, build
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import normalise

pytestmark = pytest.mark.openvino
pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

FP32_TOLERANCE = 1e-4  # of the heatmaps' range: the order of sums differs
FP16_CONSTANTS_TOLERANCE = 4e-4  # of the range: mean and scale of the input are stored as FP16 too
BF16_TOLERANCE = 0.05  # relative RMSE: eight bits of mantissa through some forty convolutions in a row


@pytest.fixture(scope="module")
def crops(lspet_crops):
    return lspet_crops(5, (64, 64))


@pytest.fixture(scope="module")
def expected(tiny_checkpoint, crops):
    checkpoint = load_checkpoint(tiny_checkpoint)
    return TorchSession(checkpoint.net, checkpoint.input).run(crops)


def engine(tiny_checkpoint, folder, precision, **options):
    return load(
        build(
            BuildOptions(model=str(tiny_checkpoint), precision=precision, backend="openvino", output=folder, **options)
        ).bundle
    )


def test_fp32_equals_torch(tiny_checkpoint, crops, expected, tmp_path):
    with engine(tiny_checkpoint, tmp_path, "fp32") as pipeline:
        heatmaps = np.concatenate([pipeline.session.run(crops[i : i + 1]).copy() for i in range(len(crops))])
    assert np.abs(heatmaps - expected).max() <= FP32_TOLERANCE * np.ptp(expected)


@pytest.mark.parametrize("batch", [(1,), (2,), (1, 2, 4)])
def test_any_number_of_crops_whatever_the_batch(tiny_checkpoint, crops, expected, tmp_path, batch):
    with engine(tiny_checkpoint, tmp_path, "fp32", batch=batch) as pipeline:
        for count in (1, 2, 3, 5):
            heatmaps = pipeline.session.run(crops[:count])
            assert np.abs(heatmaps - expected[:count]).max() <= FP32_TOLERANCE * np.ptp(expected)


@pytest.mark.skipif(
    not {"avx512_bf16", "amx_bf16", "bf16"} & set(device.cpu().features), reason="needs a CPU with BF16 arithmetic"
)
def test_bf16_is_bf16(tiny_checkpoint, crops, expected, tmp_path):
    with engine(tiny_checkpoint, tmp_path, "bf16") as pipeline:
        heatmaps = np.concatenate([pipeline.session.run(crops[i : i + 1]).copy() for i in range(len(crops))])
        assert set(pipeline.session.layer_precisions().values()) == {"bf16"}
    error = np.sqrt(np.mean((heatmaps - expected) ** 2) / np.mean(expected**2))
    assert 1e-4 < error < BF16_TOLERANCE  # it did round


def test_bf16_without_bf16_arithmetic_is_refused():
    old = dataclasses.replace(device.cpu(), name="Old CPU", features=("avx2",))
    with pytest.raises(
        BackendUnavailable, match="bf16 needs a CPU with .*, but Old CPU has none; use --precision fp32"
    ):
        builder("openvino").check("bf16", old)


def test_fp16_stores_fp16_computes_fp32_and_says_so(tiny_checkpoint, crops, tmp_path, caplog):
    with engine(tiny_checkpoint, tmp_path, "fp16") as pipeline:
        heatmaps = np.concatenate([pipeline.session.run(crops[i : i + 1]).copy() for i in range(len(crops))])
        assert set(pipeline.session.layer_precisions().values()) == {"f32"}
    assert "weights are stored as FP16, arithmetic is FP32" in caplog.text
    graph = onnx.load(tmp_path / "tiny-fp16-openvino" / "model.onnx")
    for weight in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            weight.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16).astype(np.float32), weight.name))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    image = normalise(crops, load_checkpoint(tiny_checkpoint).input)
    (expected,) = session.run(None, {"image": image})  # FP32 arithmetic on weights rounded to FP16
    assert np.abs(heatmaps - expected).max() <= FP16_CONSTANTS_TOLERANCE * np.ptp(expected)
    engine(tiny_checkpoint, tmp_path, "fp32").close()
    half, full = ((tmp_path / f"tiny-{p}-openvino" / "engine.bin").stat().st_size for p in ("fp16", "fp32"))
    assert half < 0.6 * full


def test_unknown_backend():
    with pytest.raises(
        ConfigError,
        match="backend must be auto or one of openvino, onnxruntime, torch, tensorrt, tensorrt-rtx, but got 'openvion'",
    ):
        choose("openvion")
    assert choose("auto") == "openvino"
