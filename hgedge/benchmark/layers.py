"""Where an engine's time goes, layer by layer, as its own profiler tells."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgedge import backends
from hgedge.backends.base import PROFILE_WARMUP, TimedLayer
from hgedge.benchmark.timing import interleaved
from hgedge.bundle import file_of, open_bundle
from hgedge.progress import Progress, no_progress
from hgedge.runtime.golden import GOLDEN, load_golden
from hgedge.runtime.pipeline import check_fits_here
from hgedge.spec import Manifest

log = logging.getLogger(__name__)

STACK = re.compile(r"(?:hgs|features|outs|merge_features|merge_preds)\.(\d+)(?!\d)")
QUANTIZED = ".quantized"  # what a tensor is called in INT8, beside the name that it has in float
END = "heatmaps"
PRECISIONS = {"i8": "int8", "u8": "int8", "f16": "fp16", "f32": "fp32"}


@dataclass(frozen=True)
class LayerTime:
    """A layer as an engine executes it.

    Attributes:
        name: As in the graph: of the convolution in it, else of what it makes; the engine's own for what is not there.
        kind: The engine's word for what it does.
        precision: That it computes in, or of what it reads where the engine tells no more: "int8", "bf16", "fp16",
            "fp32", or the name of another type.
        stack: From 0; None before the first, or where its name does not tell.
        ms: For one crop: median over runs, or over means of runs where the engine tells no more.
        gmacs: Multiply-accumulates of the graph's convolutions in it for one crop, in 1e9; None: it has none of them.
        nodes: Nodes of the graph that were fused into it, in order.
    """

    name: str
    kind: str
    precision: str
    stack: int | None
    ms: float
    gmacs: float | None
    nodes: tuple[str, ...] = ()

    @property
    def gmac_per_s(self) -> float | None:
        """GMAC a second; None where it has no convolution or takes no time that could be measured."""
        return 1e3 * self.gmacs / self.ms if self.gmacs is not None and self.ms else None


def profile(bundle: Path, runs: int = 50, progress: Progress = no_progress) -> list[LayerTime]:
    """Time every layer that a bundle's engine executes, in order, on its golden inputs.

    Profilers cost time themselves: the sum may be more than the engine takes without (`engine_ms`).

    Args:
        bundle: Its folder.
        runs: Samples of each layer, after a few that are not counted.
        progress: Is told of every run.

    Raises:
        EngineMismatch: The bundle is not whole, has no engine, or one that does not fit this machine.
        BackendUnavailable: Its backend is not installed, cannot run here, or has no profiler.
    """
    manifest, backend, crops = _opened(bundle)
    profiler = backends.profiler(backend)
    timed = profiler.profile(bundle, manifest, crops, runs, progress)
    return named(timed, _macs(bundle), manifest, len(crops))


def engine_ms(bundle: Path, runs: int = 50, progress: Progress = no_progress) -> float:
    """Median milliseconds that a bundle's engine takes for one crop with no profiler, by the clock on the wall.

    What its session does before and after is in it: normalisation on a CPU, copies to and from a GPU.

    Raises:
        EngineMismatch, BackendUnavailable: As of `profile`.
    """
    manifest, backend, crops = _opened(bundle)
    session = backends.sessions(backend).load(bundle, manifest)
    rounds = itertools.count(1)
    candidates = {
        "engine": lambda: session.run(crops),
        "progress": lambda: progress("engine alone", next(rounds), PROFILE_WARMUP + runs),
    }
    try:
        taken = interleaved(candidates, rounds=runs, warmup=PROFILE_WARMUP)
    finally:
        session.close()
    return float(np.median(taken["engine"])) / len(crops)


def named(
    timed: Sequence[TimedLayer], macs: Mapping[str, int] | None, manifest: Manifest, crops: int = 1
) -> list[LayerTime]:
    """What a profiler tells, in the words of the graph.

    Args:
        timed: In order of execution, of `crops` crops a run.
        macs: Node of the graph, in its order, -> multiply-accumulates for one crop; None: nobody knows.
        manifest: Of the bundle.
        crops: In each run.
    """
    graph = macs or {}
    last = [END, *graph][-1]  # OpenVINO calls the node that makes the graph's output as that
    counted: set[str] = set()  # a convolution that several layers name is in the first
    found = []
    for layer in timed:
        told = (last if node == END and END not in graph else node for node in layer.nodes)
        nodes = tuple(dict.fromkeys(node for node in told if node in graph or macs is None))
        own = [node for node in nodes if graph.get(node) and node not in counted]
        counted.update(own)
        made = layer.name.removesuffix(QUANTIZED)
        name = (own or [made] * (graph.get(made) == 0) or nodes[-1:] or [layer.name])[0]
        found.append(
            LayerTime(
                name=name,
                kind=layer.kind,
                precision=PRECISIONS.get(layer.precision, layer.precision),
                stack=_stack(name) if manifest.model.num_stacks else None,
                ms=float(np.median(layer.samples_ms)) / crops,
                gmacs=sum(graph[node] for node in own) / 1e9 if own else None,
                nodes=nodes,
            )
        )
    return found


def _stack(name: str) -> int | None:
    """The stack that a module of ours is in, by its name."""
    place = STACK.match(name)
    return int(place[1]) if place else None


def _opened(bundle: Path) -> tuple[Manifest, str, np.ndarray[Any, Any]]:
    """A bundle that runs here: manifest, backend, and golden crops of its first batch size."""
    manifest = open_bundle(bundle)
    backend = check_fits_here(bundle, manifest)
    crops = load_golden(file_of(bundle, manifest, GOLDEN)).crops
    return manifest, backend, np.resize(crops, (min(manifest.batch), *crops.shape[1:]))


def _macs(bundle: Path) -> dict[str, int] | None:
    """Node of a bundle's graph -> multiply-accumulates for one crop; None without the library that reads graphs."""
    try:
        from hgedge.export.statistics import read_summary
    except ModuleNotFoundError as error:
        log.warning("no GMACs, as %s is not installed; install it with: pip install 'hgedge[build]'", error.name)
        return None
    return {layer.name: layer.macs for layer in read_summary(bundle / "model.onnx")[1]}
