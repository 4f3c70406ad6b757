from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hgedge.export import onnx_from_network
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec

DATA = Path(__file__).parents[3] / "shared" / "data"


def make_net(seed: int = 0, **config) -> HourglassNet:
    """A seeded network whose BatchNorm statistics are all different, as after training."""
    torch.manual_seed(seed)
    net = HourglassNet(HourglassConfig(**config)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return net


@pytest.fixture(scope="session")
def small_input():
    return InputSpec(hw=(64, 64))


@pytest.fixture(scope="session")
def small_net():
    return make_net(num_stacks=2, num_features=16, depth=1, num_keypoints=5)


@pytest.fixture(scope="session")
def small_model(small_net, small_input):
    return onnx_from_network(small_net, small_input)


@pytest.fixture(scope="session")
def hg2():
    return make_net(num_stacks=2)


@pytest.fixture(scope="session")
def hg2_model(hg2):
    return onnx_from_network(hg2, InputSpec())


@pytest.fixture(scope="session")
def hg1_model(hg2):
    """The first stack of hg2."""
    return onnx_from_network(hg2, InputSpec(), num_stacks=1)


@pytest.fixture(scope="session")
def photographs():
    """Real photographs as a network takes them: call it with (height, width) for (4, 3, H, W) float32."""
    cv2 = pytest.importorskip("cv2")
    files = [*sorted((DATA / "photos").glob("*.jpg"))[:2], *sorted((DATA / "lspet" / "images").glob("*.jpg"))[:2]]
    if len(files) < 4:
        pytest.skip(f"needs photographs in {DATA}/photos and {DATA}/lspet/images")

    def read(hw):
        pictures = [cv2.resize(cv2.imread(str(file)), hw[::-1], interpolation=cv2.INTER_AREA) for file in files]
        return np.ascontiguousarray(np.float32(pictures)[..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))

    return read
