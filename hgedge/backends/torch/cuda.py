"""Run the network on a GPU: one CUDA graph a batch size, replayed on the caller's stream.

A graph reads and writes tensors of its own. `enqueue` copies into them (which also converts type and layout), replays,
and copies out, all on the caller's stream; nothing is allocated or waited for. PyTorch works in the primary context.

Source: PyTorch's notes on CUDA semantics, "CUDA Graphs": warm up on a side stream, capture, replay.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgedge.backends.torch.failures import failure_told, out_of_memory_told
from hgedge.backends.torch.network import folded
from hgedge.backends.torch.session import TorchSession
from hgedge.models.hourglass import HourglassNet
from hgedge.spec import InputSpec

GPU = 0  # the one that `hgedge.backends.torch.build.device` names
WARMUP = 3  # inferences before the capture, for libraries to choose and load their kernels
REMEMBERED = 256  # buffers and streams of callers
CAPTURING = threading.Lock()  # PyTorch captures one graph at a time in a process


@dataclass(frozen=True)
class Replay:
    """A captured graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    image: Tensor
    heatmaps: Tensor


class TorchCudaSession(TorchSession):
    """A `hgedge.backends.base.DeviceSession` on GPU 0; BatchNorm is folded where that is exact.

    Attributes:
        sizes: Batch sizes that have a graph, ascending; `run` takes others too, without one.
        half_image: Whether `enqueue` reads float16, else float32.
        half_heatmaps: Whether it writes float16, else float32.
        capturable: A replay cannot be captured into another graph.
    """

    capturable = False

    def __init__(
        self,
        net: HourglassNet,
        spec: InputSpec,
        precision: str = "fp32",
        num_stacks: int | None = None,
        sizes: tuple[int, ...] = (1,),
    ) -> None:
        self.sizes = tuple(sorted(set(sizes)))
        self.half_image = self.half_heatmaps = precision == "fp16"
        self._replays: dict[int, Replay] = {}
        doing = f"loading a network in {precision} for batches of {', '.join(map(str, self.sizes))}"
        with out_of_memory_told(doing), failure_told(doing):
            super().__init__(folded(net), spec, precision, num_stacks, f"cuda:{GPU}")
            self._stream = torch.cuda.Stream(GPU)
            self._last = torch.cuda.Event()
            pool = torch.cuda.graph_pool_handle()
            with CAPTURING:
                for size in reversed(self.sizes):  # what the largest needs is room for all
                    self._replays[size] = self._capture((size, spec.channels, *spec.hw), pool)

    @functools.cached_property
    def context(self) -> Any:
        """The primary context, for others to work in.

        Raises:
            BackendUnavailable: pycuda is missing.
        """
        from hgedge.runtime.cuda.context import CudaContext

        return CudaContext(GPU)

    def heatmaps_shape(self, size: int) -> tuple[int, int, int, int]:
        """(size, K, h, w)."""
        num, keypoints, height, width = self._replays[size].heatmaps.shape
        return num, keypoints, height, width

    @torch.inference_mode()
    def enqueue(self, size: int, image: int, heatmaps: int, stream: int) -> None:
        """Queue one inference.

        Args:
            size: One of `sizes`.
            image: Device address of (size, C, H, W), normalised and contiguous.
            heatmaps: Device address that (size, K, h, w) is written to.
            stream: Handle of a stream of the primary context.
        """
        replay = self._replays[size]
        with torch.cuda.stream(stream_at(stream)):
            self._replay(
                replay,
                tensor_at(image, tuple(replay.image.shape), self.half_image),
                tensor_at(heatmaps, tuple(replay.heatmaps.shape), self.half_heatmaps),
            )

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        with torch.cuda.stream(self._stream):
            return super().run(crops)

    def infer(self, image: Tensor, search: bool = False) -> Tensor:
        """As of a `TorchSession`, by the graph of this size if there is one."""
        replay = self._replays.get(len(image))
        if replay is None:
            return super().infer(image, search)
        heatmaps = torch.empty_like(replay.heatmaps)
        self._replay(replay, image, heatmaps)
        return heatmaps

    def close(self) -> None:
        """Free the graphs and the weights, and let go of the context; twice is fine."""
        self._replays.clear()
        vars(self).pop("net", None)
        with CAPTURING:  # no capture of another thread outlives a wait for the whole device
            torch.cuda.synchronize(GPU)
            torch.cuda.empty_cache()
        if "context" in vars(self):
            self.context.close()

    @torch.inference_mode()
    def _capture(self, shape: tuple[int, ...], pool: Any) -> Replay:
        layout = torch.contiguous_format if self.dtype is torch.float32 else torch.channels_last
        image = torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=layout).zero_()
        self._stream.wait_stream(torch.cuda.current_stream(GPU))
        with torch.cuda.stream(self._stream):
            for _ in range(WARMUP):
                super().infer(image, search=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool, self._stream, "thread_local"):
            heatmaps = super().infer(image, search=True)
        return Replay(graph, image, heatmaps)

    def _replay(self, replay: Replay, image: Tensor, heatmaps: Tensor) -> None:
        """Queue one inference on the current stream, after the one before, which may be on another."""
        stream = torch.cuda.current_stream(GPU)
        stream.wait_event(self._last)
        replay.image.copy_(image)
        replay.graph.replay()
        heatmaps.copy_(replay.heatmaps)
        stream.record_event(self._last)


@functools.lru_cache(REMEMBERED)
def tensor_at(address: int, shape: tuple[int, ...], half: bool) -> Tensor:
    """A view of contiguous float16 or float32 at a device address; a caller's few buffers come again and again."""
    memory = {"data": (address, False), "shape": shape, "typestr": "<f2" if half else "<f4", "version": 2}
    return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=memory), device=f"cuda:{GPU}")


@functools.lru_cache(REMEMBERED)
def stream_at(handle: int) -> torch.cuda.Stream:
    """A caller's stream; 0 is the default one."""
    return torch.cuda.ExternalStream(handle, GPU) if handle else torch.cuda.default_stream(GPU)
