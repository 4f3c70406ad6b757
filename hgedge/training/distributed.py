"""Several processes that train one network, as `torchrun` starts them; one alone if it did not.

Each takes its share of every batch. Losses are divided by the labelled joints of all shares, so the sum of all
processes' gradients is the gradient that one process would get from the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from hgedge.errors import BackendUnavailable


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: This one's number; the first, 0, is the one that writes files.
        size: How many there are.
        device: What this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    def share(self, items: Any) -> Any:
        """This process's part of what all have to do: every `size`-th item."""
        return items[self.rank :: self.size]

    def add(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def add_gradients(self, net: nn.Module) -> None:
        """Replace every gradient by its sum over all processes."""
        gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        self._add_in_one(gradients, 1.0)

    def average_statistics(self, net: nn.Module) -> None:
        """Replace BatchNorm's running statistics by their mean over all processes."""
        self._add_in_one([buffer for buffer in net.buffers() if buffer.is_floating_point()], 1 / self.size)

    def copy_from_first(self, net: nn.Module) -> None:
        """Begin with the first process's weights."""
        if self.size > 1:
            for tensor in (*net.parameters(), *net.buffers()):
                distributed.broadcast(tensor.detach(), 0)

    def interleaved(self, own: list[Any]) -> list[Any]:
        """What all processes made of their shares, in the order before `share`."""
        if self.size == 1:
            return own
        parts: list[list[Any]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, own)
        return [parts[index % self.size][index // self.size] for index in range(sum(map(len, parts)))]

    def _add_in_one(self, tensors: list[Tensor], factor: float) -> None:
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.mul_(factor).split([tensor.numel() for tensor in tensors])):
            tensor.detach().copy_(total.view(tensor.shape))


def rank() -> int:
    """This process's number among those that `torchrun` started; 0 without it."""
    return int(os.environ.get("RANK", 0))


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Take part in the run that `torchrun` started, over gloo on CPUs and NCCL on GPUs; or be alone.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        BackendUnavailable: A GPU was asked for, but there is none for this process.
    """
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield World(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise BackendUnavailable(
            f"process {local_rank} needs a CUDA device of its own, but this machine has {torch.cuda.device_count()}; "
            "set device = 'cpu', or start fewer processes"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
