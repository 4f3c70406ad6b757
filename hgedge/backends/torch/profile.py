"""Time the modules of a network in PyTorch, by hooks around each: by the clock on a CPU, by CUDA events on a GPU.

What a residual, an hourglass or the whole takes beyond its modules is its addition. On a GPU the network runs eagerly,
as modules are no more when a CUDA graph is replayed: where a kernel is shorter than its launch, its launch is timed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgedge.backends.base import PROFILE_WARMUP, TimedLayer
from hgedge.backends.torch.network import folded
from hgedge.backends.torch.session import TorchSession
from hgedge.bundle import file_of
from hgedge.checkpoints import load_checkpoint
from hgedge.models.hourglass import Hourglass, HourglassNet, Residual
from hgedge.progress import Progress, no_progress
from hgedge.spec import Manifest

TYPES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
ADDING = (Residual, Hourglass, HourglassNet)  # modules that compute something beside the modules in them


@dataclass
class Call:
    """A call of a module: where it began and ended, and the calls within."""

    path: str
    module: nn.Module
    start: Any
    end: Any = None
    precision: str = "?"
    inner: list[Call] = field(default_factory=list)

    @property
    def ms(self) -> float:
        """Milliseconds of all of it."""
        return 1e3 * (self.end - self.start) if isinstance(self.end, float) else self.start.elapsed_time(self.end)


class Recorder:
    """Hooks around all modules of a network.

    Attributes:
        calls: Since the last `clear`, in the order in which they ended.
    """

    def __init__(self, net: nn.Module, on_gpu: bool) -> None:
        self.calls: list[Call] = []
        self._open: list[Call] = []
        self._on_gpu = on_gpu
        for path, module in net.named_modules():
            if not isinstance(module, nn.Identity):
                self._attach(path, module)

    def _attach(self, path: str, module: nn.Module) -> None:
        def before(module: nn.Module, given: Any) -> None:
            call = Call(path, module, self._now())
            if self._open:
                self._open[-1].inner.append(call)
            self._open.append(call)

        def after(module: nn.Module, given: Any, made: Tensor) -> None:
            call = self._open.pop()
            call.end, call.precision = self._now(), TYPES[made.dtype]
            self.calls.append(call)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def profile(
    folder: Path, manifest: Manifest, crops: np.ndarray, runs: int, progress: Progress = no_progress
) -> list[TimedLayer]:
    """Time every module of a network; see `hgedge.backends.base`."""
    on_gpu = torch.cuda.is_available()
    net = load_checkpoint(file_of(folder, manifest, "weights.safetensors")).net
    session = TorchSession(
        folded(net) if on_gpu else net,
        manifest.input,
        manifest.precision,
        manifest.model.num_stacks,
        "cuda" if on_gpu else "cpu",
    )
    recorder = Recorder(session.net, on_gpu)
    kinds: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    samples: defaultdict[str, list[float]] = defaultdict(list)
    for done in range(PROFILE_WARMUP + runs):
        recorder.calls.clear()
        session.run(crops)  # waits for the GPU, too
        taken: defaultdict[str, float] = defaultdict(float)
        for call in recorder.calls:
            if not call.inner or isinstance(call.module, ADDING):
                name, nodes = _names(call)
                kinds[name] = (type(call.module).__name__, call.precision, nodes)
                taken[name] += call.ms - sum(part.ms for part in call.inner)  # a ReLU is called several times
        for name, ms in taken.items():
            samples[name].append(ms)
        progress("profile", done + 1, PROFILE_WARMUP + runs)
    return [
        TimedLayer(name, kind, precision, tuple(samples[name][PROFILE_WARMUP:]), nodes)
        for name, (kind, precision, nodes) in kinds.items()
    ]


def _names(call: Call) -> tuple[str, tuple[str, ...]]:
    """A module's own name, and the node of the graph that it is, if it is one."""
    if not isinstance(call.module, ADDING):
        return call.path, (call.path,)
    return (f"{call.path}.add", (f"{call.path}.add",)) if call.path else (type(call.module).__name__, ())
