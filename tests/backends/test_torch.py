"""The PyTorch session against the network called by hand."""

import cv2
import numpy as np
import pytest
import torch

from hgedge import device
from hgedge.backends import builder, device_for
from hgedge.backends.torch.session import TorchSession
from hgedge.builder import BuildOptions, build
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import ConfigError
from hgedge.runtime.pipeline import load


@pytest.fixture(scope="module")
def crops(lspet_crops):
    return lspet_crops(2, (64, 64))


def by_hand(checkpoint, crops):
    rgb = np.stack([cv2.cvtColor(crop, cv2.COLOR_BGR2RGB) for crop in crops]).astype(np.float64) / 255
    image = (rgb - checkpoint.input.mean) / checkpoint.input.std
    with torch.inference_mode():
        return checkpoint.net(torch.from_numpy(image).float().permute(0, 3, 1, 2)).numpy()


def test_last_stack_of_a_normalised_rgb_picture(tiny_checkpoint, crops):
    checkpoint = load_checkpoint(tiny_checkpoint)
    stacks = by_hand(checkpoint, crops)
    for count in (1, 2):
        heatmaps = TorchSession(checkpoint.net, checkpoint.input, num_stacks=count).run(crops)
        np.testing.assert_allclose(heatmaps, stacks[:, count - 1], atol=1e-4 * np.ptp(stacks))


def test_a_bundle_gives_the_same(tiny_checkpoint, crops, tmp_path):
    checkpoint = load_checkpoint(tiny_checkpoint)
    stacks = by_hand(checkpoint, crops)
    report = build(
        BuildOptions(model=str(tiny_checkpoint), precision="fp32", backend="torch", num_stacks=1, output=tmp_path)
    )
    assert report.bundle.name == "tiny-fp32-torch-1stack" and report.agreement == {"mean_px": 0.0, "p99_px": 0.0}
    with load(report.bundle) as pipeline:
        np.testing.assert_allclose(pipeline.session.run(crops), stacks[:, 0], atol=1e-4 * np.ptp(stacks))


def test_engines_are_for_the_cpu_where_there_is_no_gpu():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert device_for("torch") == device.cpu()


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05)])  # of the heatmaps' range
def test_a_gpu_gives_what_the_cpu_gives(tiny_checkpoint, crops, tmp_path, precision, tolerance):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert device_for("torch").features[0].startswith("sm_")
    checkpoint = load_checkpoint(tiny_checkpoint)
    expected = TorchSession(checkpoint.net, checkpoint.input, precision).run(crops)
    report = build(BuildOptions(model=str(tiny_checkpoint), precision=precision, backend="torch", output=tmp_path))
    with load(report.bundle) as pipeline:
        assert pipeline.session.device.type == "cuda"
        np.testing.assert_allclose(pipeline.session.run(crops), expected, atol=tolerance * np.ptp(expected))


def test_int8_is_refused(tiny_checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="backend torch is the baseline, in fp32 or bf16"):
        build(BuildOptions(model=str(tiny_checkpoint), precision="int8", backend="torch", output=tmp_path))
    assert builder("torch").version() == torch.__version__
