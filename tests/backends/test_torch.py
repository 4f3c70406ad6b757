"""The PyTorch backend against the network called by hand."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from hgedge import device
from hgedge.backends import builder, device_for
from hgedge.backends.torch.failures import failure_told, out_of_memory_told
from hgedge.backends.torch.network import DTYPES, folded, reduced
from hgedge.backends.torch.session import TorchSession
from hgedge.builder import BuildOptions, build
from hgedge.bundle import MANIFEST, read_manifest
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch
from hgedge.evaluation.parity import relative_rmse
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.runtime.pipeline import load

FOLDED = 1e-5  # of the heatmaps' range: other roundings of the same sums
ROUNDING = {"fp16": 0.005, "bf16": 0.05}  # relative RMSE; eight times as much where there are eight times fewer steps
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.61 GiB of which 1.21 GiB is free. "
    "Including non-PyTorch memory, this process has 6.40 GiB memory in use. Of the allocated memory 6.00 GiB is ..."
)
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


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


@pytest.mark.parametrize("precision", ROUNDING)
def test_16_bits_are_near_and_leave_the_network_as_it_was(tiny_checkpoint, crops, precision):
    checkpoint = load_checkpoint(tiny_checkpoint)
    expected = by_hand(checkpoint, crops)
    heatmaps = TorchSession(checkpoint.net, checkpoint.input, precision).run(crops)
    assert heatmaps.dtype == np.float32
    assert 1e-5 < relative_rmse(heatmaps, expected[:, -1]) < ROUNDING[precision]
    np.testing.assert_array_equal(by_hand(checkpoint, crops), expected)


def test_only_convolutions_are_reduced(lively):
    net = reduced(lively(num_stacks=1, num_features=8, num_keypoints=4), torch.float16)
    kinds = {type(module): module.weight.dtype for module in net.modules() if hasattr(module, "weight")}
    assert kinds == {nn.Conv2d: torch.float16, nn.BatchNorm2d: torch.float32}


@pytest.mark.parametrize(
    "shape", [{}, {"num_blocks": 2, "stem": "conv7x7-late"}, {"stem": "pointwise", "head": "rectified"}]
)
def test_a_folded_network_is_the_same(lively, shape):
    net = lively(num_stacks=2, num_features=8, depth=2, num_keypoints=4, **shape)
    image = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = net(image), folded(net)(image)
    assert (found - expected).abs().max() <= FOLDED * (expected.max() - expected.min())


def test_only_batchnorm_behind_an_addition_stays():
    net = folded(HourglassNet(HourglassConfig(num_stacks=1)))
    left = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left and all(name.endswith("bn1") for name in left)


@pytest.fixture(scope="module")
def report(tiny_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("engines")
    return build(
        BuildOptions(model=str(tiny_checkpoint), precision="fp32", backend="torch", num_stacks=1, output=output)
    )


def test_a_bundle_gives_the_same(tiny_checkpoint, crops, report):
    stacks = by_hand(load_checkpoint(tiny_checkpoint), crops)
    assert report.bundle.name == "tiny-fp32-torch-1stack"
    assert report.agreement["p99_px"] == 0.0 or torch.cuda.is_available()
    with load(report.bundle) as pipeline:
        np.testing.assert_allclose(pipeline.session.run(crops), stacks[:, 0], atol=1e-4 * np.ptp(stacks))


def test_a_bundle_of_another_gpu_is_not_loaded(report, tmp_path):
    bundle = Path(shutil.copytree(report.bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["device"].update(name="NVIDIA Anything", features=["sm_00"])
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(EngineMismatch, match=r"built for NVIDIA Anything .* without sm_00; rebuild: hgedge build "):
        load(bundle)


@needs_no_cuda
def test_engines_are_for_the_cpu_where_there_is_no_gpu():
    assert device_for("torch") == device.cpu()


@needs_no_cuda
def test_fp16_needs_a_gpu(hgedge, tmp_path):
    done = hgedge("build", "--backend", "torch", "--precision", "fp16")
    assert done.returncode == 3 and list(tmp_path.iterdir()) == []
    assert "fp16 on backend torch needs a CUDA device" in done.stderr and "--precision fp32 or bf16" in done.stderr


def test_fp16_without_room_is_refused(tiny_checkpoint, report, tmp_path):
    manifest = dataclasses.replace(read_manifest(report.bundle), precision="fp16", kept_fp32=("hgs.0.add", "outs.1"))
    with pytest.raises(ConfigError, match=r"no room for hgs.0.add, outs.1, .* use --precision bf16"):
        builder("torch").build(tmp_path, manifest, load_checkpoint(tiny_checkpoint))
    assert not (tmp_path / "weights.safetensors").exists()


def test_int8_is_refused(tiny_checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=f"backend torch runs {', '.join(DTYPES)}, but got --precision int8"):
        build(BuildOptions(model=str(tiny_checkpoint), precision="int8", backend="torch", output=tmp_path))
    assert builder("torch").version() == torch.__version__


def test_too_little_memory_is_told_with_what_was_needed_and_free():
    with pytest.raises(BackendUnavailable) as caught, out_of_memory_told("inference of 64 crops"):
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)
    assert str(caught.value) == (
        "inference of 64 crops takes more memory than is free on the GPU: Tried to allocate 2.00 GiB. GPU 0 has a "
        "total capacity of 7.61 GiB of which 1.21 GiB is free; close other programs, or take fewer at once"
    )


def test_a_gpu_that_pytorch_has_no_kernels_for():
    with pytest.raises(
        BackendUnavailable, match=r"^loading failed on .*: CUDA error: no kernel image; install a PyTorch"
    ):
        with failure_told("loading"):
            raise RuntimeError("CUDA error: no kernel image\nCUDA kernel errors might be reported later")
