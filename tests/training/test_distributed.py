"""Two processes that torchrun starts learn what one does from the same batches."""

import json
import subprocess
import sys

import pytest
import torch

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.training.distributed import World, joined
from hgedge.training.loop import steps_an_epoch

HANGS_S = 180  # far beyond what two processes take
SAME = {"rtol": 0, "atol": 1e-6}  # sums of the same numbers in another order
CONFIG = """
data = "figures:20"
output = "{output}"
epochs = 1
batch_size = 8
accumulate = {accumulate}
learning_rate = 1e-3
precision = "fp32"
batch_norm = "frozen"
device = "cpu"
ema_decay = 0.5
memory_gb = 0.1
[model]
num_stacks = 2
num_features = 16
depth = 2
num_keypoints = 14
[augmentation]
scale = [0.4, 0.6]
[[phases]]
input_size = 32
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, environment):
    """The same two steps by one process, and by two; crops are so narrow that joints lie outside of some."""
    folder = tmp_path_factory.mktemp("runs")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = {}
    for name, launcher in (("one", []), ("two", torchrun)):
        (folder / f"{name}.toml").write_text(CONFIG.format(output=name, accumulate=1))
        command = [sys.executable, *launcher, "-m", "hgedge", "train", f"{name}.toml", "--json"]
        done[name] = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS_S
        )
        assert done[name].returncode == 0, done[name].stderr
    return folder, done


def states(folder):
    return [torch.load(folder / name / "checkpoint.pt", weights_only=True) for name in ("one", "two")]


def test_gradients_and_weights_are_those_of_one_process(runs):
    """AdamW's first moments are the clipped gradients of both steps, weighed by 0.09 and 0.1."""
    one, two = states(runs[0])
    assert all(state["step"] == 2 for state in one["optimizer"]["state"].values())
    for mine, theirs in zip(one["optimizer"]["state"].values(), two["optimizer"]["state"].values(), strict=True):
        torch.testing.assert_close(theirs["exp_avg"], mine["exp_avg"], **SAME)
    assert max(state["exp_avg"].abs().max() for state in one["optimizer"]["state"].values()) > 1000 * SAME["atol"]
    for part in ("net", "averaged"):
        for name in one[part]:
            torch.testing.assert_close(two[part][name], one[part][name], **SAME)


def test_loss_and_score_are_those_of_one_process(runs):
    """Each process scores its share of the people."""
    one, two = (state["history"][0] for state in states(runs[0]))
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["PCK@0.5 pooled"] == one["PCK@0.5 pooled"]


def test_only_the_first_process_speaks_and_writes(runs):
    folder, done = runs
    assert json.loads(done["two"].stdout)["checkpoint"] == "two/model.safetensors"
    assert done["two"].stderr.count("epoch 1/1") == 1
    assert not list((folder / "two").glob(".*")) and len((folder / "two" / "log.jsonl").read_text().splitlines()) == 1


def test_one_alone_changes_nothing():
    world = World(0, 1, torch.device("cpu"))
    net = torch.nn.BatchNorm1d(3)
    net.weight.grad = torch.ones(3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    world.add_gradients(net)
    world.average_statistics(net)
    world.copy_from_first(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.weight.grad.tolist() == [1, 1, 1] and world.interleaved([1, 2]) == [1, 2]


def test_shares_are_disjoint_and_whole():
    worlds = [World(rank, 3, torch.device("cpu")) for rank in range(3)]
    assert sorted(item for world in worlds for item in world.share(range(8))) == list(range(8))


def test_a_batch_that_cannot_be_shared(small, tmp_path):
    with pytest.raises(ConfigError, match="batch_size is 8, which 3 processes cannot share evenly"):
        steps_an_epoch(small(tmp_path), 100, 3)


def test_a_gpu_that_is_not_there_is_not_replaced():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with (
        pytest.raises(BackendUnavailable, match="needs a CUDA device of its own, but this machine has 0"),
        joined("cuda"),
    ):
        pass
    with joined("auto") as world:
        assert world.device.type == "cpu"
