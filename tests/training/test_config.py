"""Configurations: what is refused, what they mean, and those that come with hgedge."""

import dataclasses
import json
from pathlib import Path

import pytest

from hgedge import records
from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.augment import Augmentation
from hgedge.training.config import RECIPES, Phase, TrainingConfig, recipe_path

NAMES = ["default", *sorted(path.stem for path in RECIPES.glob("*.toml"))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp8"}, "precision must be bf16 or fp32"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, rmsprop, but got 'sgd'"),
        ({"schedule": "step"}, "schedule must be one of cosine, plateau"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda"),
        ({"color": "bgr"}, "color must be one of rgb, gray"),
        ({"color": "gray"}, "color 'gray' has 1 channels, but model.in_channels is 3; set it to 1"),
        ({"mean": (0.5,)}, "rgb needs 3 values of mean and std"),
        ({"phases": (Phase(0.0, 50),)}, "multiples of 16, but got 50"),
        ({"phases": (Phase(0.5, 64), Phase(0.1, 64))}, r"starts of phases must rise from 0, but are \[0.5, 0.1\]"),
        ({"epochs": 0}, "epochs must be positive"),
        ({"accumulate": 0}, "accumulate must be positive"),
        ({"workers": 0}, "workers must be positive"),
        ({"early_stopping": -1}, "early_stopping must not be negative"),
        ({"teacher_weight": 1.5}, "teacher_weight must lie in 0 to 1"),
    ],
)
def test_refused(small, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        small(tmp_path, **changes)


def test_phases_follow_the_epochs(small, tmp_path):
    config = small(tmp_path, epochs=10, phases=(Phase(0.0, 32), Phase(0.35, 64), Phase(0.9, 32)))
    assert [config.phase_at(epoch) for epoch in range(10)] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2]
    assert config.input.hw == (32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_parse_and_are_found_by_name(name):
    config = records.from_toml(TrainingConfig, recipe_path(Path(name)))
    assert config.output == f"runs/{name}"


def test_the_papers_recipe():
    """Newell et al., section 3.2: RMSprop at 2.5e-4, a fifth of it on a plateau, MSE, 30 degrees, 0.75 to 1.25."""
    config = records.from_toml(TrainingConfig, recipe_path(Path("paper-hg2-mpii")))
    assert (config.optimizer, config.learning_rate, config.schedule) == ("rmsprop", 2.5e-4, "plateau")
    assert (config.weight_decay, config.clip_norm, config.ema_decay, config.warmup) == (0, 0, 0, 0)
    assert config.phases == (Phase(0.0, 256, 0.0, 0.0),)
    assert (config.augmentation.rotation_deg, config.augmentation.scale) == (30.0, (0.75, 1.25))
    assert config.model == HourglassConfig(num_stacks=2, num_features=256, num_keypoints=16)


def test_the_default_models_recipe_means_what_it_meant():
    config = records.from_toml(TrainingConfig, recipe_path(Path("default")))
    expected = TrainingConfig(
        data="lspet", output="runs/default", epochs=35, batch_size=16, learning_rate=1.5e-3, weight_decay=0.02,
        model=HourglassConfig(num_stacks=2, num_features=128, num_keypoints=14),
        augmentation=Augmentation(rotation_deg=40.0, scale=(0.75, 1.3)),
        phases=(Phase(0.0, 128, 30.0, 1.0), Phase(0.62, 192, 2.0, 0.3)),
    )  # fmt: skip
    assert config == expected
    assert (config.optimizer, config.schedule, config.accumulate, config.clip_norm) == ("adamw", "cosine", 1, 5.0)
    assert config.input.mean == (0.485, 0.456, 0.406) and config.input.std == (0.229, 0.224, 0.225)
    assert dataclasses.replace(config, early_stopping=3) != config and config.early_stopping == 0


def test_no_such_recipe():
    with pytest.raises(ConfigError, match="no recipe is called 'papr'; .* one of: default, default-continued, face68"):
        recipe_path(Path("papr"))
    assert recipe_path(Path("nowhere.toml")) == Path("nowhere.toml")


RUN = """
data = "figures:20"
output = "elsewhere"
epochs = 1
batch_size = 8
device = "cpu"
[model]
num_stacks = 1
num_features = 8
depth = 2
num_keypoints = 14
[[phases]]
input_size = 32
"""


def test_the_command_trains_a_network_that_can_be_evaluated(hgedge, tmp_path, environment):
    (tmp_path / "run.toml").write_text(RUN)
    done = hgedge("train", "run.toml", "--output", "runs/tiny", "--data", "figures:30", "--json", env=environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["checkpoint"] == "runs/tiny/model.safetensors" and document["epochs"] == document["best_epoch"] == 1
    assert "PCK@0.2 pooled" in document["metrics"] and "loss" not in document["metrics"]
    done = hgedge("evaluate", document["checkpoint"], "--data", "figures:30", "--json", env=environment)
    assert json.loads(done.stdout)["num_people"] == 6
