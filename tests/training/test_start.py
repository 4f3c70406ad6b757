"""Starting from trained weights: the same network goes on, other keypoints get new ends, another build is refused."""

import pytest
import torch

from hgedge.checkpoints import load_checkpoint, save_checkpoint
from hgedge.datasets.keypoint_sets import AIC14, LSP14
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec
from hgedge.training.config import STATISTICS
from hgedge.training.loop import train

ENDS = ("outs.", "merge_preds.")
HALF_ULP = 1e-3  # weights are stored in 16 bits
SIZES = {"num_stacks": 2, "num_features": 16, "depth": 2, "num_keypoints": 14}
STILL = {"learning_rate": 1e-12, "weight_decay": 0.0, "ema_decay": 0.0, "batch_norm": "frozen", "epochs": 1}


def write(path, keypoints=LSP14, mean=STATISTICS["rgb"][0], seed=3, **sizes):
    torch.manual_seed(seed)
    config = HourglassConfig(**{**SIZES, **sizes})
    spec = InputSpec((64, 64), "rgb", mean, STATISTICS["rgb"][1])
    save_checkpoint(path, HourglassNet(config), name="start", input=spec, keypoints=keypoints)
    return str(path)


def weights(path):
    return load_checkpoint(path).net.state_dict()


@pytest.mark.parametrize("keypoints", [LSP14, AIC14], ids=lambda known: known.name)
def test_weights_go_on_and_ends_of_other_keypoints_start_anew(small, tmp_path, keypoints):
    path = write(tmp_path / "start.safetensors", keypoints)
    run = small(tmp_path / "run", start_from=path, model=HourglassConfig(**SIZES), **STILL)
    train(run)
    before, after = weights(path), weights(tmp_path / "run" / "last.safetensors")
    floats = [name for name in before if before[name].is_floating_point() and name.endswith("weight")]
    kept = {name for name in floats if torch.allclose(before[name], after[name], rtol=HALF_ULP, atol=HALF_ULP)}
    expected = floats if keypoints is LSP14 else [name for name in floats if not name.startswith(ENDS)]
    assert kept == set(expected)


def test_another_start_is_another_run(small, tmp_path):
    model = HourglassConfig(**SIZES)
    path = write(tmp_path / "start.safetensors")
    train(small(tmp_path / "run", start_from=path, model=model, epochs=1))
    write(tmp_path / "start.safetensors", seed=4)
    with pytest.raises(CheckpointError, match="weights to start from was '.*' and is '"):
        train(small(tmp_path / "run", start_from=path, model=model, epochs=1))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"num_features": 20}, "num_features=20.*start from a network of the same build"),
        ({"mean": (0.5, 0.5, 0.5)}, r"takes an input of .*0\.5, 0\.5, 0\.5.* but the config says .*0\.485"),
    ],
)
def test_a_start_that_does_not_fit(small, tmp_path, start, message):
    path = write(tmp_path / "start.safetensors", **start)
    with pytest.raises(ConfigError, match=message):
        train(small(tmp_path / "run", start_from=path, model=HourglassConfig(**SIZES)))
    assert not (tmp_path / "run").exists()


def test_no_start_there(small, tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file: 'nowhere.pt'"):
        train(small(tmp_path, start_from="nowhere.pt"))
