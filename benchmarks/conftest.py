"""What the benchmarks share: hg2 at 256x256 as engines, photographs, and where results go."""

import json
import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # before torch: its threads must not spin into the next engine's time

from pathlib import Path

import pytest

from hgedge.benchmark.environment import environment, machine_name
from hgedge.builder import BuildOptions, build

ROOT = Path(__file__).parent.parent
LSPET = ROOT.parent / "shared" / "data" / "lspet"


def pytest_addoption(parser):
    parser.addoption("--hgedge-save", action="store_true", help="write results to benchmarks/results/<machine>/")


@pytest.fixture(scope="session")
def save(request):
    """save(name, results): keep results as JSON, with the machine named, if --hgedge-save is given."""

    def write(name, results):
        if not request.config.getoption("--hgedge-save"):
            return
        folder = ROOT / "benchmarks" / "results" / machine_name()
        folder.mkdir(parents=True, exist_ok=True)
        document = {"environment": environment(), "results": results}
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")

    return write


@pytest.fixture(scope="session")
def lspet():
    if not LSPET.is_dir():
        pytest.skip(f"needs the data set LSPET at {LSPET}")
    return LSPET


def seeded(folder, num_stacks):
    """A checkpoint (256 features, 16 keypoints, 256x256) with seeded weights: speed does not depend on them."""
    import torch

    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import MPII16
    from hgedge.models.hourglass import HourglassConfig, HourglassNet
    from hgedge.spec import InputSpec

    torch.manual_seed(0)
    name = f"hg{num_stacks}-seeded"
    net = HourglassNet(HourglassConfig(num_stacks=num_stacks)).eval()
    save_checkpoint(folder / f"{name}.safetensors", net, name=name, input=InputSpec(), keypoints=MPII16)
    return folder / f"{name}.safetensors"


@pytest.fixture(scope="session")
def hg2(tmp_path_factory):
    return seeded(tmp_path_factory.mktemp("hg2"), 2)


@pytest.fixture(scope="session")
def hg8(tmp_path_factory):
    return seeded(tmp_path_factory.mktemp("hg8"), 8)


@pytest.fixture(scope="session")
def hg2_int8(hg2, lspet, tmp_path_factory):
    """The build report of hg2 in INT8 for OpenVINO, calibrated on 128 pictures."""
    output = tmp_path_factory.mktemp("engines")
    return build(BuildOptions(model=str(hg2), precision="int8", backend="openvino", calibration=lspet, output=output))
