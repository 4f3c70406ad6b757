"""Training on drawn figures: it learns, keeps the best, stops when there is no gain, refuses bad input."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

import hgedge.datasets
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import ConfigError, SourceError
from hgedge.evaluation.evaluate import pipeline_of, predict
from hgedge.evaluation.pck import pck
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.config import Phase
from hgedge.training.loop import train

ROUNDED = 0.5  # points of PCK: stored weights have 16 bits, and a peak may move from one cell to the next


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    return output, train(small(output))


def test_it_learns_and_logs(whole_run, log_of):
    log = log_of(whole_run[0])
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    assert [line["input_size"] for line in log] == [32, 32, 64, 64]
    assert log[1]["loss"] < log[0]["loss"] and log[3]["loss"] < log[2]["loss"]
    assert set(log[0]) >= {f"PCK@{t} pooled" for t in (0.05, 0.1, 0.2, 0.5)}
    for line in log:
        assert line["loader_crops_per_s"] > 0 and line["step_crops_per_s"] >= line["crops_per_s"] > 0
        assert 0 <= line["waited"] < 1


def test_everything_lies_in_the_output(whole_run):
    names = {"checkpoint.pt", "curve.png", "last.safetensors", "log.jsonl", "model.safetensors", "predictions.png"}
    assert {path.name for path in whole_run[0].iterdir()} == names


def test_the_last_is_the_average_after_the_last_epoch(whole_run):
    checkpoint = load_checkpoint(whole_run[0] / "last.safetensors")
    state = torch.load(whole_run[0] / "checkpoint.pt", weights_only=True)
    averaged = state["averaged"]["module.outs.0.weight"]
    torch.testing.assert_close(checkpoint.net.outs[0].weight.detach(), averaged.half().float(), rtol=0, atol=0)
    assert checkpoint.input.hw == (64, 64) and checkpoint.keypoints.name == "lsp14"


def test_the_log_says_what_evaluation_finds(whole_run, small):
    """The score of the last epoch is the one of the written weights in the pipeline that users run."""
    output, _ = whole_run
    dataset = hgedge.datasets.open(small(output).data, "val")
    with pipeline_of(str(output / "last.safetensors")) as pipeline:
        found = predict(pipeline, dataset, np.arange(len(dataset))).keypoints
    keypoints, labelled = (np.stack([getattr(p, name) for p in dataset.people]) for name in ("keypoints", "labelled"))
    scored = pck(found, keypoints, labelled, dataset.keypoint_set)
    history = torch.load(output / "checkpoint.pt", weights_only=True)["history"]
    assert history[-1]["PCK@0.5 pooled"] == pytest.approx(scored.pooled[-1], abs=ROUNDED)


def test_the_model_is_the_best_of_the_last_phase(small, tmp_path, log_of):
    """A rate that falls to nothing and an average that forgets: weights of the two files tell the epochs apart."""
    trained = train(small(tmp_path, phases=(Phase(0.0, 32),), epochs=5, early_stopping=5))
    scores = [line["PCK@0.2 pooled"] for line in log_of(tmp_path)]
    assert trained.best == log_of(tmp_path)[int(np.argmax(scores))]
    same = (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "last.safetensors").read_bytes()
    assert same == (np.argmax(scores) == 4)


def test_it_stops_when_there_is_no_gain(small, tmp_path, log_of, caplog):
    """Nothing is learned at such a rate, so the first epoch stays the best."""
    still = {"learning_rate": 1e-12, "batch_norm": "frozen", "phases": (Phase(0.0, 32),)}
    config = small(tmp_path, **still, epochs=50, early_stopping=3)
    with caplog.at_level("INFO", "hgedge"):
        trained = train(config)
    assert trained.epochs == len(log_of(tmp_path)) == 4 and trained.best["epoch"] == 1
    assert "stopping early: no gain in PCK@0.2 pooled for 3 epochs" in caplog.text
    assert train(config) == trained


def test_a_line_an_epoch_for_people(small, tmp_path, caplog):
    with caplog.at_level("INFO", "hgedge"):
        train(small(tmp_path, epochs=2))
    first, second = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch")]
    for part in ("epoch 1/2", "loss ", "PCK@0.2 pooled ", "(best ", "rate ", "crops/s", "loader ", "ETA "):
        assert part in first
    assert "ETA" not in second


def test_the_number_of_threads_changes_nothing(small, tmp_path):
    train(small(tmp_path / "one", epochs=1, workers=1, memory_gb=0.0))
    train(small(tmp_path / "three", epochs=1, workers=3))
    one, three = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["net"] for n in ("one", "three"))
    assert all(torch.equal(one[name], three[name]) for name in one)


def test_two_small_batches_teach_what_a_large_one_does(small, tmp_path):
    """Gradients of accumulated batches are those of all their crops; batch statistics would differ."""
    plain = {"epochs": 1, "batch_norm": "frozen", "learning_rate": 1e-3}
    train(small(tmp_path / "large", **plain, batch_size=16))
    train(small(tmp_path / "small", **plain, batch_size=8, accumulate=2))
    large, halves = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["net"] for n in ("large", "small"))
    for name in large:
        torch.testing.assert_close(halves[name], large[name], rtol=1e-5, atol=1e-6)


def test_frozen_batch_norm_keeps_its_statistics(small, tmp_path):
    train(small(tmp_path, epochs=1, batch_norm="frozen"))
    net = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["net"]
    means = [tensor for name, tensor in net.items() if name.endswith("running_mean")]
    assert means and not any(mean.any() for mean in means)


def test_faces_are_scored_by_nme(shared_data, small, tmp_path, log_of):
    """Grey pictures, 68 points; fewer errors are better."""
    model = HourglassConfig(num_stacks=1, num_features=16, depth=2, num_keypoints=68, in_channels=1)
    faces = {"data": str(shared_data / "faces"), "model": model, "color": "gray", "batch_size": 64}
    trained = train(small(tmp_path, **faces, epochs=2, phases=(Phase(0.0, 32),)))
    errors = [line["NME"] for line in log_of(tmp_path)]
    assert trained.metric == "NME" and trained.best["NME"] == min(errors) and errors[1] < errors[0]
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.input.color == "gray" and checkpoint.input.mean == (0.45,) and len(checkpoint.keypoints) == 68


def test_a_missing_picture_is_named_before_anything_is_written(figures, small, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(figures, copy)
    (copy / "images" / "003.png").unlink()
    with pytest.raises(SourceError, match=r"1 of the 32 pictures of split 'train' .* such as .*003\.png"):
        train(small(tmp_path / "run", data=str(copy)))
    assert not (tmp_path / "run").exists()


def test_a_damaged_picture_ends_the_run(figures, small, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(figures, copy)
    (copy / "images" / "003.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"003\.png"):
        train(small(tmp_path / "run", data=str(copy)))


def test_a_training_that_diverges_ends(small, tmp_path):
    with pytest.raises(ConfigError, match="the loss became .*: the training diverged; lower learning_rate"):
        train(small(tmp_path, learning_rate=1e30, warmup=0.0, clip_norm=0.0))


def test_more_keypoints_than_the_network_has(small, tmp_path):
    other = dataclasses.replace(small(tmp_path).model, num_keypoints=16)
    with pytest.raises(ConfigError, match="predicts 16 keypoints, but .* is labelled with 14; set model.num_keypoints"):
        train(small(tmp_path, model=other))


def test_too_few_people(small, tmp_path):
    with pytest.raises(ConfigError, match="batch_size is 16 and accumulate 3, but .* has 32 people to learn from"):
        train(small(tmp_path, batch_size=16, accumulate=3))


def test_a_name_that_no_bundle_could_have(small, tmp_path):
    with pytest.raises(ConfigError, match="name must be letters, digits, .* but got 'my run'"):
        train(small(tmp_path / "my run"))
    assert not (tmp_path / "my run").exists()
