"""Time several pipelines in turn on one picture: preprocess, engine, decode, and end to end.

Every one but the baselines stands in each round a second time, under another name: what the two differ by is the run's
noise floor.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hgedge.benchmark.noise import noise_floor
from hgedge.benchmark.steady import Warmup, warm_up
from hgedge.benchmark.timing import interleaved
from hgedge.progress import Progress
from hgedge.runtime.pipeline import Pipeline

STAGES = {"preprocess": "preprocess", "engine": "infer", "decode": "decode"}  # as pipelines call them
END_TO_END = "end_to_end"
PAUSE_S = 0.01  # for threads of the one before to go to sleep
WARMUP_S = 20.0  # at most


@dataclass(frozen=True)
class Timings:
    """What a run of timing gave.

    Attributes:
        samples_ms: Name -> stage -> (N,) milliseconds, in the order taken.
        warmups: Name -> how it was warmed up.
        noise_floor: How far from 1 the ratio of an engine to itself was at most.
    """

    samples_ms: dict[str, dict[str, np.ndarray]]
    warmups: dict[str, Warmup]
    noise_floor: float


def time_stages(
    pipelines: Mapping[str, Pipeline],
    once: Collection[str],
    picture: np.ndarray,
    box_xyxy: np.ndarray,
    rounds: int,
    progress: Progress,
) -> Timings:
    """Time pipelines on a person of a picture.

    Args:
        pipelines: By name.
        once: Names that stand in a round only once, unless there are no others.
        picture: (H, W, 3) uint8 BGR.
        box_xyxy: (4,) the person's.
        rounds: Samples of each.
        progress: Is told of the rounds.
    """
    kept: dict[str, list[dict[str, float]]] = {name: [] for name in pipelines}
    unkept: list[dict[str, float]] = []
    again = [name for name in pipelines if name not in once] or list(pipelines)
    candidates = {name: _call(pipelines[name], picture, box_xyxy, kept[name]) for name in pipelines} | {
        f"{name} (again)": _call(pipelines[name], picture, box_xyxy, unkept) for name in again
    }
    progress("warm up", 0, 0)
    warmups = warm_up(candidates, PAUSE_S, WARMUP_S)
    for taken in kept.values():
        taken.clear()
    done = itertools.count()  # told in a call of its own, which nobody else's time holds
    whole = interleaved(
        {"": lambda: progress("frames", next(done), rounds), **candidates}, rounds, warmup=0, pause_s=PAUSE_S
    )
    progress("frames", rounds, rounds)
    samples = {
        name: {stage: np.array([each[theirs] for each in taken]) for stage, theirs in STAGES.items()}
        | {END_TO_END: whole[name]}
        for name, taken in kept.items()
    }
    floor = max(noise_floor(whole[name], whole[f"{name} (again)"]) for name in again)
    return Timings(samples, {name: warmups[name] for name in pipelines}, floor)


def _call(
    pipeline: Pipeline, picture: np.ndarray, box_xyxy: np.ndarray, kept: list[dict[str, float]]
) -> Callable[[], None]:
    """What runs a pipeline once, and keeps what it says of its stages."""

    def run() -> None:
        pipeline(picture, [box_xyxy])
        kept.append(pipeline.latency_ms)

    return run
