"""A run that was interrupted, killed or out of disk ends, bit for bit, as one that was not."""

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from hgedge import records
from hgedge.errors import CheckpointError, HgedgeError
from hgedge.training.config import Phase
from hgedge.training.loop import train
from hgedge.training.state import save_state, write_whole

HANGS_S = 120  # far beyond what any of these takes
EVERYTHING = {  # at such a rate the score goes up and down, so that the plateau schedule has something to do
    "epochs": 3, "optimizer": "rmsprop", "learning_rate": 3e-2, "schedule": "plateau", "patience": 1, "warmup": 0.1,
    "batch_size": 4, "accumulate": 2, "ema_decay": 0.8, "early_stopping": 3, "phases": (Phase(0.0, 32), Phase(0.3, 64)),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory, log_of):
    output = tmp_path_factory.mktemp("whole") / "run"
    train(small(output, **EVERYTHING))
    assert len({line["learning_rate"] for line in log_of(output)}) > 1
    return output


def assert_equal(one, two, log_of):
    """All that a run is: weights, averages, optimiser, scores, files."""
    states = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (one, two)]
    for part in ("net", "averaged"):
        assert all(torch.equal(states[0][part][name], states[1][part][name]) for name in states[0][part])
    for mine, theirs in zip(*(state["optimizer"]["state"].values() for state in states)):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for name in ("model.safetensors", "last.safetensors", "predictions.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    for mine, theirs in zip(log_of(one), log_of(two), strict=True):
        assert all(mine[name] == theirs[name] for name in ("epoch", "loss", "learning_rate", "PCK@0.2 pooled"))
    assert not list(two.glob(".*"))


class Interrupt(Exception):
    pass


def at_step(number, action):
    """Progress that acts once so many steps are done; an epoch has four."""

    def progress(stage, done, total):
        if (stage, done) == ("train", number):
            action()

    return progress


def stop():
    raise Interrupt


@pytest.mark.parametrize("step", [1, 9])
def test_interrupted_in_any_epoch(small, tmp_path, whole_run, log_of, step):
    config = small(tmp_path / "run", **EVERYTHING)
    with pytest.raises(Interrupt):
        train(config, at_step(step, stop))
    train(config)
    assert_equal(whole_run, tmp_path / "run", log_of)


def toml(config, path):
    """A config as a file."""

    def value(item):
        return str(item).lower() if isinstance(item, bool) else repr(item)

    mapping = {key: item for key, item in records.to_mapping(config).items() if item is not None}
    lines = [
        f"{key} = {value(item)}" for key, item in mapping.items() if key not in ("model", "augmentation", "phases")
    ]
    for name in ("model", "augmentation"):
        lines += [f"[{name}]", *(f"{key} = {value(item)}" for key, item in mapping[name].items())]
    for phase in mapping["phases"]:
        lines += ["[[phases]]", *(f"{key} = {value(item)}" for key, item in phase.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


KILL = """
import os, signal, sys
from pathlib import Path
from hgedge import records
from hgedge.training.config import TrainingConfig
from hgedge.training.loop import train
def progress(stage, done, total):
    if (stage, done) == ("train", 6):
        os.kill(os.getpid(), signal.SIGKILL)
train(records.from_toml(TrainingConfig, Path(sys.argv[1])), progress)
"""


def test_killed_in_the_middle_of_an_epoch(small, tmp_path, whole_run, log_of, environment):
    output = tmp_path / "run"
    config = toml(small(output, **EVERYTHING), tmp_path / "run.toml")
    killed = subprocess.run([sys.executable, "-c", KILL, config], env=environment, timeout=HANGS_S)
    assert killed.returncode == -signal.SIGKILL and len(log_of(output)) == 1
    (output / ".checkpoint.pt.1.partial").write_bytes(b"half")  # as if it had been killed while it wrote
    train(small(output, **EVERYTHING))
    assert_equal(whole_run, output, log_of)


def test_ctrl_c_ends_with_130_and_leaves_nothing_half(small, tmp_path, environment):
    output = tmp_path / "run"
    config = toml(small(output, epochs=100_000, phases=(Phase(0.0, 32),)), tmp_path / "run.toml")
    command = [sys.executable, "-m", "hgedge", "train", str(config)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        deadline = time.monotonic() + HANGS_S
        while not (output / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=HANGS_S)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and stderr.splitlines()[-1] == "error: interrupted"
    assert not list(output.glob(".*"))
    torch.load(output / "checkpoint.pt", weights_only=True)


@contextmanager
def full_disk():
    """Gives a function after which no file of this process can grow beyond 10 kB: as if the disk were full.

    Not beyond the block, as pytest itself may be writing into a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_epoch_before(small, tmp_path, whole_run, log_of):
    output = tmp_path / "run"
    config = small(output, **EVERYTHING)
    with full_disk() as fill, pytest.raises(HgedgeError, match="cannot be written"):
        train(config, at_step(8, fill))
    assert len(torch.load(output / "checkpoint.pt", weights_only=True)["history"]) == len(log_of(output)) == 1
    train(config)
    assert_equal(whole_run, output, log_of)


def test_a_file_that_cannot_be_written_stays_what_it_was(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"weights": torch.arange(3)})
    too_large = "File too large; what was there is kept: make room and run it again"
    with full_disk() as fill, pytest.raises(HgedgeError, match=too_large):
        fill()
        save_state(path, {"weights": torch.zeros(10_000)})
    assert torch.load(path, weights_only=True)["weights"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_write_whole_replaces(tmp_path):
    for data in (b"one", b"two"):
        write_whole(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 4}, "epochs was 3 and is 4; put it back, remove the checkpoint, or choose another output"),
        ({"phases": (Phase(0.0, 32), Phase(0.3, 64, 1.0))}, "phases.1.peak_weight was 30.0 and is 1.0"),
        ({"phases": (Phase(0.0, 32),)}, "phases.1.start was 0.3 and is None"),
        ({"seed": 1, "optimizer": "adamw"}, "optimizer was 'rmsprop' and is 'adamw'; seed was 0 and is 1"),
    ],
)
def test_another_config_is_refused(small, tmp_path, whole_run, changes, message):
    shutil.copy(whole_run / "checkpoint.pt", tmp_path)
    with pytest.raises(CheckpointError, match=f"was made by another run than this config: .*{message}"):
        train(small(tmp_path, **{**EVERYTHING, **changes}))


def test_another_network_is_refused(small, tmp_path, whole_run):
    shutil.copy(whole_run / "checkpoint.pt", tmp_path)
    other = dataclasses.replace(small(tmp_path).model, num_features=32)
    with pytest.raises(CheckpointError, match="model.num_features was 16 and is 32"):
        train(small(tmp_path, **EVERYTHING, model=other))


def test_other_labels_are_refused(small, tmp_path, whole_run, figures):
    shutil.copy(whole_run / "checkpoint.pt", tmp_path)
    copy = tmp_path / "data"
    shutil.copytree(figures, copy)
    rows = (copy / "index.csv").read_text().replace("31,031.png,train", "31,031.png,val")
    (copy / "index.csv").write_text(rows)
    with pytest.raises(CheckpointError, match="labels to learn was .* and is .*; labels to score on was"):
        train(small(tmp_path, **EVERYTHING, data=str(copy)))


def test_what_changes_no_result_may_change(small, tmp_path, whole_run, figures):
    """A finished run of the same labels elsewhere is still finished."""
    moved = tmp_path / "moved"
    shutil.copytree(whole_run, tmp_path / "run")
    shutil.copytree(figures, moved)
    trained = train(small(tmp_path / "run", **EVERYTHING, data=str(moved), workers=3, memory_gb=1.0))
    assert trained.epochs == 3


def test_a_truncated_checkpoint_is_refused(small, tmp_path, whole_run):
    data = (whole_run / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot be read; remove it to start anew"):
        train(small(tmp_path, **EVERYTHING))


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2]])
def test_a_checkpoint_of_something_else_is_refused(small, tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="was made by another run or version|cannot be read"):
        train(small(tmp_path, **EVERYTHING))
