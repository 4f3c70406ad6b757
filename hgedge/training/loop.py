"""The training loop: epochs of augmented crops, a score after each, and everything written down to go on from."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from hgedge.checkpoints.header import Header
from hgedge.checkpoints.save import save_checkpoint
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassNet
from hgedge.progress import Progress, no_progress
from hgedge.spec import DecodeSpec
from hgedge.training import plots
from hgedge.training.config import TrainingConfig
from hgedge.training.data import (
    GIGABYTE,
    Ahead,
    Batch,
    Pictures,
    Samples,
    labels_digest,
    open_split,
    opencv_on_one_thread,
)
from hgedge.training.distributed import World, joined
from hgedge.training.learner import Learner
from hgedge.training.line import Line, told
from hgedge.training.schedule import best_of, learning_rate
from hgedge.training.score import Validation
from hgedge.training.state import check_same_run, described, load_state, save_state, sweep, write_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a run has made.

    Attributes:
        checkpoint: The averaged weights of the best epoch, ready for `hgedge build`.
        metric: What the best is chosen by.
        best: That epoch's line of the log.
        epochs: Epochs that were trained in all.
    """

    checkpoint: Path
    metric: str
    best: Line
    epochs: int


def train(config: TrainingConfig, progress: Progress = no_progress) -> Trained:
    """Train, or go on with, the run that a config describes.

    In `output` lie, each whole at any moment: `model.safetensors`, the averaged weights of the best epoch of the last
    phase so far, 16-bit; `last.safetensors`, those of the last epoch; `checkpoint.pt`, from which an interrupted run
    goes on after its last finished epoch; `log.jsonl`, a line an epoch; `curve.png`; `predictions.png`.

    Args:
        config: The run.
        progress: Told about the steps of the whole run, and of scoring.

    Raises:
        SourceError: The data set or one of its pictures cannot be read.
        ConfigError: Network, data set, teacher and processes do not fit together; the training diverged; or a file
            cannot be written.
        CheckpointError: There is a checkpoint, but it is damaged or another run's.
        BackendUnavailable: There is no such device.
    """
    with joined(config.device) as world, opencv_on_one_thread():
        run = Run(config, world, progress if world.rank == 0 else no_progress)
        while not run.finished():
            run.epoch()
        return Trained(run.model_path, run.validation.metric, run.history[run.best()], len(run.history))


class Run:
    """Network, data and history of one training run."""

    def __init__(self, config: TrainingConfig, world: World, progress: Progress) -> None:
        self.config, self.world, self.progress = config, world, progress
        self.output = Path(config.output)
        self.name = self.output.absolute().name
        self.model_path = self.output / "model.safetensors"
        self.data = open_split(config, config.data, config.train_split)
        val = open_split(config, config.val_data or config.data, config.val_split)
        self.pictures = Pictures(config.color == "gray", config.memory_gb * GIGABYTE)
        self.validation = Validation(val, self.pictures, config.workers)
        self.steps = steps_an_epoch(config, len(self.data), world.size)
        decode = DecodeSpec(stride=float(config.model.stride))
        Header(self.name, config.model, config.input, self.data.keypoint_set, decode)  # before hours of work
        self.learner = Learner(config, self.data.keypoint_set, world)
        self.history: list[Line] = []
        inputs = {"labels to learn": labels_digest(self.data), "labels to score on": labels_digest(val)}
        if self.learner.start is not None:
            inputs["weights to start from"] = self.learner.start.sha256
        if self.learner.teacher is not None:
            inputs["weights of the teacher"] = self.learner.teacher.sha256
        self.described = described(config, **inputs)
        self.resume(self.output / "checkpoint.pt")
        if world.rank == 0:
            self.output.mkdir(parents=True, exist_ok=True)
            sweep(self.output)

    def resume(self, path: Path) -> None:
        """Take up weights, averages, optimiser and history, if there are any."""
        if not path.exists():
            return
        before = load_state(path)
        try:
            check_same_run(path, before["run"], self.described)
            self.learner.restore(before)
            self.history = before["history"]
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} was made by another run or version; remove it or choose another output"
            ) from error
        self.tell(f"going on after epoch {len(self.history)}")

    def finished(self) -> bool:
        """Whether all epochs are done, or the last phase has brought no gain for too long."""
        done, patience = len(self.history), self.config.early_stopping
        if done == self.config.epochs:
            return True
        in_last_phase = done and self.history[-1]["phase"] == len(self.config.phases) - 1
        if not patience or not in_last_phase or done - 1 - self.best() < patience:
            return False
        self.tell(f"stopping early: no gain in {self.validation.metric} for {patience} epochs")
        return True

    def best(self) -> int:
        """The best epoch of the phase that the last one belongs to, counted from 0."""
        phase = [line["phase"] == self.history[-1]["phase"] for line in self.history]
        start = phase.index(True)
        return start + best_of(self.scores()[start:])

    def scores(self) -> list[float]:
        """What was scored after every epoch; higher is better."""
        return [self.validation.gain(line[self.validation.metric]) for line in self.history]

    def epoch(self) -> None:
        """Train, score and write everything down."""
        epoch = len(self.history)
        number = self.config.phase_at(epoch)
        size = self.config.phases[number].input_size
        line = {"epoch": epoch + 1, "phase": number, "input_size": size, **self.train_epoch(epoch, number)}
        started = time.perf_counter()
        spec = replace(self.config.input, hw=(size, size))
        learner, stride = self.learner, self.config.model.stride
        found = self.validation.find(learner.averaged, spec, stride, learner.bf16, self.world, self.progress)
        line |= {"score_seconds": round(time.perf_counter() - started, 2), **self.validation.metrics(found)}
        self.history.append(line)
        self.tell(told(self.history, self.config, self.validation.metric, self.best()))
        if self.world.rank == 0:
            write_whole(self.output / "predictions.png", plots.predictions_png(self.validation, found, spec))
            self.write()

    def train_epoch(self, epoch: int, number: int) -> dict[str, Any]:
        """One pass over the training split; returns what the log tells of it."""
        config, phase, scores = self.config, self.config.phases[number], self.scores()
        ahead = self.batches(epoch, phase.input_size)
        batches, losses, rate, started = iter(ahead), 0.0, 0.0, time.perf_counter()
        self.learner.begin_epoch()
        for step in range(self.steps):
            rate = learning_rate(config, (epoch + step / self.steps) / config.epochs, scores)
            losses += self.learner.step(islice(batches, config.accumulate), phase, rate)
            self.progress("train", epoch * self.steps + step + 1, config.epochs * self.steps)
        self.learner.end_epoch()
        seconds = time.perf_counter() - started
        own = self.steps * config.accumulate * config.batch_size / self.world.size
        return {
            "loss": round(losses / self.steps, 4),
            "learning_rate": rate,
            "seconds": round(seconds, 2),
            "crops_per_s": round(own * self.world.size / seconds, 1),
            "step_crops_per_s": round(own / max(seconds - ahead.waited_s, 1e-9), 1),
            "loader_crops_per_s": round(own * config.workers / max(ahead.busy_s, 1e-9), 1),
            "waited": round(ahead.waited_s / seconds, 3),
        }

    def batches(self, epoch: int, size: int) -> Ahead[np.ndarray, Batch]:
        """This process's parts of the epoch's batches, in shuffled order."""
        config = self.config
        order = np.random.default_rng((config.seed, epoch)).permutation(len(self.data))
        chunks = order[: self.steps * config.accumulate * config.batch_size].reshape(-1, config.batch_size)
        samples = Samples(config, self.data, self.pictures, epoch, size, self.world.device.type == "cuda")
        return Ahead(samples.batch, [self.world.share(chunk) for chunk in chunks], config.workers)

    def write(self) -> None:
        """Write what the last epoch brought. The state comes last: all that it tells of lies beside it by then."""
        net = cast(HourglassNet, self.learner.averaged.module)
        best, keypoints = self.best(), self.data.keypoint_set
        paths = [self.output / "last.safetensors", *([self.model_path] if best == len(self.history) - 1 else [])]
        for path in paths:
            save_checkpoint(path, net, name=self.name, input=self.config.input, keypoints=keypoints)
        write_whole(self.output / "curve.png", plots.curve_png(self.history, self.validation.metric, best))
        write_whole(self.output / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.history).encode())
        state = {**self.learner.state(), "history": self.history, "run": self.described}
        save_state(self.output / "checkpoint.pt", state)

    def tell(self, text: str) -> None:
        """Log a line, once for all processes."""
        if self.world.rank == 0:
            log.info("%s", text)


def steps_an_epoch(config: TrainingConfig, people: int, processes: int) -> int:
    """Steps of the optimiser that a pass over so many people makes; what is left over waits for another epoch.

    Raises:
        ConfigError: There are too few people for one step, or a batch cannot be shared evenly.
    """
    if config.batch_size % processes:
        raise ConfigError(f"batch_size is {config.batch_size}, which {processes} processes cannot share evenly")
    steps = people // (config.batch_size * config.accumulate)
    if not steps:
        raise ConfigError(
            f"batch_size is {config.batch_size} and accumulate {config.accumulate}, but {config.data} has {people} "
            "people to learn from"
        )
    return steps
