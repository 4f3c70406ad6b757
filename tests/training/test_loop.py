"""Training on drawn figures: it learns, an interrupted run ends as an uninterrupted one, bad input is refused."""

import dataclasses
import json
import shutil

import pytest
import torch

from hgedge.checkpoints import load_checkpoint
from hgedge.errors import CheckpointError, ConfigError, SourceError
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.config import Phase, TrainingConfig
from hgedge.training.loop import learning_rate, train

SMALL = HourglassConfig(num_stacks=1, num_features=16, depth=2, num_keypoints=14)


def config(figures, output, **changes):
    plain = TrainingConfig(
        data=str(figures), output=str(output), model=SMALL, phases=(Phase(0.0, 32), Phase(0.5, 64)),
        epochs=4, batch_size=8, learning_rate=5e-3, precision="fp32", ema_decay=0.5,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole_run(figures, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    train(config(figures, output))
    return output


def test_it_learns_and_logs(whole_run):
    log = log_of(whole_run)
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    assert [line["input_size"] for line in log] == [32, 32, 64, 64]
    assert log[1]["loss"] < log[0]["loss"] and log[3]["loss"] < log[2]["loss"]
    assert set(log[0]) >= {"PCK@0.05", "PCK@0.1", "PCK@0.2", "PCK@0.5", "crops_per_s"}


def test_the_model_is_the_average_that_was_scored(whole_run):
    checkpoint = load_checkpoint(whole_run / "model.safetensors")
    state = torch.load(whole_run / "checkpoint.pt", weights_only=True)
    averaged = state["averaged"]["module.outs.0.weight"]
    torch.testing.assert_close(checkpoint.net.outs[0].weight.detach(), averaged.half().float(), rtol=0, atol=0)
    assert checkpoint.input.hw == (64, 64) and checkpoint.keypoints.name == "lsp14"


class Interrupt(Exception):
    pass


def test_an_interrupted_run_ends_like_a_whole_one(figures, tmp_path, whole_run):
    def stop(stage, done, total):
        if stage == "epoch 3" and done == 2:
            raise Interrupt

    with pytest.raises(Interrupt):
        train(config(figures, tmp_path), stop)
    train(config(figures, tmp_path))
    assert [line["epoch"] for line in log_of(tmp_path)] == [1, 2, 3, 4]
    for mine, theirs in zip(log_of(tmp_path), log_of(whole_run)):
        assert mine["loss"] == theirs["loss"]
    one, two = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (tmp_path, whole_run))
    assert all(torch.equal(one["net"][name], two["net"][name]) for name in one["net"])


def test_a_checkpoint_of_another_network_is_refused(figures, tmp_path, whole_run):
    shutil.copy(whole_run / "checkpoint.pt", tmp_path)
    other = dataclasses.replace(SMALL, num_features=32)
    with pytest.raises(CheckpointError, match="was made by another run .* remove it or choose another output"):
        train(config(figures, tmp_path, model=other))


def test_a_truncated_checkpoint_is_refused(figures, tmp_path, whole_run):
    data = (whole_run / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(config(figures, tmp_path))


def test_a_missing_picture_is_named(figures, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(figures, copy)
    (copy / "images" / "003.png").unlink()
    with pytest.raises(SourceError, match=r"003\.png"):
        train(config(copy, tmp_path / "run"))


def test_the_rate_warms_up_and_falls_to_a_hundredth(figures, tmp_path):
    plain = config(figures, tmp_path, warmup=0.1)
    assert learning_rate(plain, 0.05) == pytest.approx(2.5e-3)
    assert learning_rate(plain, 0.1) == pytest.approx(5e-3)
    assert learning_rate(plain, 1.0) == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp8"}, "precision must be bf16 or fp32"),
        ({"phases": (Phase(0.0, 50),)}, "multiples of 16, but got 50"),
        ({"phases": (Phase(0.5, 64), Phase(0.1, 64))}, r"starts of phases must rise from 0, but are \[0.5, 0.1\]"),
        ({"epochs": 0}, "epochs must be positive"),
    ],
)
def test_bad_configs(figures, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config(figures, tmp_path, **changes)


def test_more_keypoints_than_the_network_has(figures, tmp_path):
    other = dataclasses.replace(SMALL, num_keypoints=16)
    with pytest.raises(ConfigError, match="predicts 16 keypoints, but .* is labelled with 14"):
        train(config(figures, tmp_path, model=other))
