"""What the benchmarks share: hg2 at 256x256 as engines, photographs, and where results go."""

import importlib.util
import json
import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # before torch: its threads must not spin into the next engine's time

from pathlib import Path

import numpy as np
import pytest

import hgedge.datasets
from hgedge import geometry
from hgedge.benchmark.environment import environment, machine_name
from hgedge.builder import BuildOptions, build
from hgedge.runtime.golden import run_one_by_one
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import crop

ROOT = Path(__file__).parent.parent
PEOPLE = 100
LSPET = Path(os.environ.get("HGEDGE_LSPET") or ROOT.parent / "shared" / "data" / "lspet")
NEEDS_OPENVINO = ["bench_floor.py", "bench_nncf.py"]  # as soon as they are imported
collect_ignore = NEEDS_OPENVINO if importlib.util.find_spec("openvino") is None else []


def pytest_addoption(parser):
    parser.addoption("--hgedge-save", action="store_true", help="write results to benchmarks/results/<machine>/")
    parser.addoption("--hgedge-peers", help="benchmarks/gpu/bench_peers.py: only those whose name holds one of a,b,c")


def pytest_report_header():
    return [f"{', '.join(collect_ignore)} left out: OpenVINO is not installed"] if collect_ignore else None


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


@pytest.fixture(scope="session")
def val_crops(lspet):
    """The (100, 192, 192, 3) uint8 crops of people of LSPET val, whose heatmaps are compared."""
    people = hgedge.datasets.open(lspet, "val").people
    chosen = [people[index] for index in np.linspace(0, len(people) - 1, PEOPLE).astype(int)]
    out = np.empty((PEOPLE, 192, 192, 3), np.uint8)
    for person, buffer in zip(chosen, out):
        crop(person.read(), geometry.frame_from_input(person.box_xyxy, (192, 192)), buffer)
    return out


@pytest.fixture(scope="session")
def heatmaps_of(val_crops):
    """heatmaps_of(bundle): what its engine makes of `val_crops`."""

    def run(bundle):
        with load(bundle) as pipeline:
            return run_one_by_one(pipeline.session, val_crops)

    return run


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
