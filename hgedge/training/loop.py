"""The training loop: epochs of augmented crops, averaged weights, a score after each, a checkpoint to go on from."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import hgedge.datasets
from hgedge import geometry
from hgedge.checkpoints.save import save_checkpoint
from hgedge.datasets import Dataset
from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.errors import CheckpointError, ConfigError
from hgedge.evaluation.pck import pck
from hgedge.models.hourglass import HourglassNet, channels_last
from hgedge.progress import Progress, no_progress
from hgedge.runtime.decode import decode
from hgedge.runtime.preprocess import crop, normalise
from hgedge.spec import InputSpec
from hgedge.training.augment import training_crop
from hgedge.training.config import Phase, TrainingConfig
from hgedge.training.loss import heatmap_loss

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]


def train(config: TrainingConfig, progress: Progress = no_progress) -> Path:
    """Train, or go on with, the run that a config describes.

    Args:
        config: The run. An interrupted run goes on after its last finished epoch, from `output/checkpoint.pt`.
        progress: Told about the steps of each epoch.

    Returns:
        `output/model.safetensors`: the averaged weights after the last epoch, 16-bit, ready for `hgedge build`.

    Raises:
        SourceError: The data set or one of its pictures cannot be read.
        ConfigError: The network and the data set have other keypoints.
        CheckpointError: There is a checkpoint, but it is damaged or another run's.
    """
    run = Run(config, progress)
    for epoch in range(run.epoch, config.epochs):
        line = run.train_epoch(epoch)
        run.save(epoch + 1)
        with open(run.output / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return run.model_path


class Run:
    """Network, optimiser and data of one training run."""

    def __init__(self, config: TrainingConfig, progress: Progress) -> None:
        self.config = config
        self.progress = progress
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.checkpoint_path = self.output / "checkpoint.pt"
        self.model_path = self.output / "model.safetensors"
        size = config.phases[-1].input_size
        self.input = InputSpec((size, size), "rgb", config.mean, config.std)
        torch.manual_seed(config.seed)
        self.net = channels_last(HourglassNet(config.model))
        self.averaged = AveragedModel(
            self.net, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        ).eval()
        decays = [p for p in self.net.parameters() if p.ndim > 1]
        stays = [p for p in self.net.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decays, "weight_decay": config.weight_decay}, {"params": stays, "weight_decay": 0.0}],
            lr=config.learning_rate,
            fused=True,
        )
        self.train_set, self.train_pictures = load_split(config, config.train_split)
        self.val_set, self.val_pictures = load_split(config, config.val_split)
        if len(self.train_set.keypoint_set) != config.model.num_keypoints:
            raise ConfigError(
                f"the network predicts {config.model.num_keypoints} keypoints, but {config.data} is labelled with "
                f"{len(self.train_set.keypoint_set)}; set model.num_keypoints"
            )
        self.steps_per_epoch = len(self.train_set) // config.batch_size
        if not self.steps_per_epoch:
            raise ConfigError(f"batch_size is {config.batch_size}, but {config.data} has {len(self.train_set)} people")
        self.epoch = 0
        if self.checkpoint_path.exists():
            self.resume()

    def resume(self) -> None:
        """Take up weights, averages and optimiser from the last finished epoch."""
        path = self.checkpoint_path
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be read; remove it to start anew ({type(error).__name__})") from error
        try:
            self.net.load_state_dict(state["net"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch = state["epoch"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} was made by another run than this config; remove it or choose another output"
            ) from error
        log.info("going on after epoch %d", self.epoch)

    def save(self, epoch: int) -> None:
        """Write the checkpoint and the model so far, each under another name first, then renamed into place."""
        state = {
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": epoch,
        }
        partial = self.checkpoint_path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint_path)
        save_checkpoint(
            self.model_path,
            cast(HourglassNet, self.averaged.module),
            name=self.output.name,
            input=self.input,
            keypoints=self.train_set.keypoint_set,
        )

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training split, then a score on the validation split; returns the line for the log."""
        config = self.config
        phase = config.phase(epoch / config.epochs)
        started, total = time.monotonic(), 0.0
        self.net.train()
        for step, batch in enumerate(self.batches(epoch, phase.input_size)):
            rate = learning_rate(config, (epoch + step / self.steps_per_epoch) / config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            total += self.train_step(batch, phase)
            self.progress(f"epoch {epoch + 1}", step + 1, self.steps_per_epoch)
        trained = time.monotonic()
        scores = self.score(phase.input_size)
        line = {
            "epoch": epoch + 1,
            "input_size": phase.input_size,
            "loss": round(total / self.steps_per_epoch, 4),
            "learning_rate": rate,
            "seconds": round(trained - started, 1),
            "crops_per_s": round(self.steps_per_epoch * config.batch_size / (trained - started), 1),
            **scores,
        }
        log.info("%s", line)
        return line

    def train_step(self, batch: Batch, phase: Phase) -> float:
        """One optimiser step; returns the loss."""
        images, target, counts = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bf16"):
            predicted = self.net(images)
        loss = heatmap_loss(predicted, target, counts, phase.peak_weight, phase.location_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.averaged.update_parameters(self.net)
        return loss.item()

    def batches(self, epoch: int, size: int) -> Iterator[Batch]:
        """The epoch's batches in shuffled order, each prepared while the one before it trains."""
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self.train_set))
        chunks = order[: self.steps_per_epoch * self.config.batch_size].reshape(self.steps_per_epoch, -1)
        with ThreadPoolExecutor(max_workers=1) as pool:
            upcoming = pool.submit(self.make_batch, chunks[0], epoch, size)
            for chunk in chunks[1:]:
                ready = upcoming.result()
                upcoming = pool.submit(self.make_batch, chunk, epoch, size)
                yield ready
            yield upcoming.result()

    def make_batch(self, indices: np.ndarray, epoch: int, size: int) -> Batch:
        """Crops, targets and counts of some samples as tensors."""
        crops, points, labels = [], [], []
        for index in indices:
            person = self.train_set.people[index]
            cropped, keypoints, labelled = training_crop(
                self.train_pictures[index],
                person.keypoints,
                person.labelled,
                person.box_xyxy,
                self.train_set.keypoint_set,
                (size, size),
                self.config.augmentation,
                np.random.default_rng((self.config.seed, epoch, int(index))),
            )
            crops.append(cropped)
            points.append(keypoints)
            labels.append(labelled)
        cells = size // self.config.model.stride
        target, counts = gaussian_heatmaps(
            np.stack(points), np.stack(labels), (cells, cells), self.config.model.stride, self.config.sigma
        )
        return self.normalise(np.stack(crops)), torch.from_numpy(target), torch.from_numpy(counts)

    def normalise(self, crops: np.ndarray) -> Tensor:
        """(N, H, W, 3) uint8 BGR crops to a (N, 3, H, W) float32 channels-last tensor, RGB, normalised."""
        image = torch.from_numpy(normalise(crops, self.input))
        return image.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def score(self, size: int) -> dict[str, float]:
        """PCK of the averaged weights on the validation split, pooled, in percent."""
        predicted = []
        people = self.val_set.people
        for start in range(0, len(people), 32):
            chosen = range(start, min(start + 32, len(people)))
            affines = [geometry.frame_from_input(people[i].box_xyxy, (size, size)) for i in chosen]
            crops = np.empty((len(chosen), size, size, 3), np.uint8)
            for index, affine, out in zip(chosen, affines, crops):
                crop(self.val_pictures[index], affine, out)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bf16"):
                heatmaps = self.averaged(self.normalise(crops))[:, -1].float().numpy()
            keypoints, _ = decode(heatmaps, self.config.model.stride)
            predicted += [geometry.transform(affine, points) for affine, points in zip(affines, keypoints)]
        result = pck(
            np.stack(predicted),
            np.stack([person.keypoints for person in people]),
            np.stack([person.labelled for person in people]),
            self.val_set.keypoint_set,
        )
        return {f"PCK@{t}": round(float(value), 2) for t, value in zip(result.thresholds, result.pooled)}


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 0.01)
    fraction = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * fraction)) / 2)


def load_split(config: TrainingConfig, split: str) -> tuple[Dataset, list[np.ndarray]]:
    """A split and its decoded pictures, kept in memory.

    Raises:
        SourceError: A picture cannot be read.
    """
    dataset = hgedge.datasets.open(config.data, split)
    return dataset, [person.read() for person in dataset.people]
