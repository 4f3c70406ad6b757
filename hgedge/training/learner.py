"""The network while it learns: optimiser, averaged weights, and a teacher if there is one."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hgedge.device import cpu
from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassNet, channels_last
from hgedge.pose import KeypointSet
from hgedge.training.config import Phase, TrainingConfig
from hgedge.training.data import Batch, network_input
from hgedge.training.distributed import World
from hgedge.training.loss import distillation_loss, heatmap_loss
from hgedge.training.optimiser import optimiser
from hgedge.training.start import start_of, take_weights
from hgedge.training.teacher import Teacher

log = logging.getLogger(__name__)

BF16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}  # of CPUs that compute in it


class Learner:
    """A network of seeded weights, or of those it starts from, ready to learn.

    Attributes:
        start: What it starts from, or None.
        net: What learns.
        averaged: Its averaged weights, in evaluation mode.
        bf16: Whether it computes in 16 bits where that is usual.
    """

    def __init__(self, config: TrainingConfig, keypoints: KeypointSet, world: World) -> None:
        self.config, self.world = config, world
        self.bf16 = config.precision == "bf16" and has_bf16(world.device)
        if config.precision == "bf16" and not self.bf16 and world.rank == 0:
            log.warning("this processor has no bf16, so training computes in fp32; precision = 'fp32' says the same")
        self.teacher = Teacher(config.teacher, config, keypoints, world.device) if config.teacher else None
        torch.manual_seed(config.seed)
        net: nn.Module = channels_last(HourglassNet(config.model))
        self.start = start_of(config.start_from, config) if config.start_from else None
        if self.start is not None:
            take_weights(net, self.start, keypoints)
        net = net.to(world.device)
        if world.size > 1 and world.device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        self.net = cast(HourglassNet, net)
        world.copy_from_first(self.net)
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True).eval()
        self.optimizer = optimiser(config, self.net)

    def state(self) -> dict[str, Any]:
        """All that changes while it learns."""
        return {name: getattr(self, name).state_dict() for name in ("net", "averaged", "optimizer")}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was of.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError, ValueError: It is of another network or optimiser.
        """
        for name in ("net", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(state[name])

    def begin_epoch(self) -> None:
        """Set the network's layers to learning."""
        self.net.train()
        for module in self.net.modules():
            if isinstance(module, _BatchNorm) and self.config.batch_norm == "frozen":
                module.eval()

    def end_epoch(self) -> None:
        """Agree with the other processes on BatchNorm's running statistics."""
        self.world.average_statistics(self.net)
        self.world.average_statistics(self.averaged)

    def step(self, batches: Iterable[Batch], phase: Phase, rate: float) -> float:
        """One step of the optimiser, over this process's part of one batch or more; returns the whole loss.

        Raises:
            ConfigError: The loss is no number.
        """
        device = self.world.device
        group = [Batch(*(tensor.to(device, non_blocking=True) for tensor in batch)) for batch in batches]
        joints = self.world.add(torch.stack([batch.counts.sum() for batch in group]).sum())
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for batch in group:
            loss = self.loss(batch, phase, joints)
            loss.backward()
            total += loss.detach()
        value = self.world.add(total).item()
        if not math.isfinite(value):
            raise ConfigError(f"the loss became {value}: the training diverged; lower learning_rate or raise warmup")
        self.world.add_gradients(self.net)
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.optimizer.step()
        self.averaged.update_parameters(self.net)
        return value

    def loss(self, batch: Batch, phase: Phase, joints: Tensor) -> Tensor:
        """The part of a batch in a loss that is averaged over so many joints."""
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bf16):
            predicted = self.net(network_input(batch.crops, self.config.input))
            taught = None if self.teacher is None else self.teacher(batch.crops)
        weights = (phase.peak_weight, phase.location_weight)
        if taught is None:
            return heatmap_loss(predicted, batch.target, batch.counts, *weights, total=joints)
        share = self.config.teacher_weight
        return distillation_loss(predicted, batch.target, taught, batch.counts, share, *weights, total=joints)


def has_bf16(device: torch.device) -> bool:
    """Whether a processor computes in bf16 rather than imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not BF16_FEATURES.isdisjoint(cpu().features)
