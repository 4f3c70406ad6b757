"""Latency and accuracy of engines beside their FP32 baseline, in one run, as one document."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hgedge.benchmark import quiet, rows
from hgedge.benchmark.accuracy import score
from hgedge.benchmark.baseline import BuildFp32
from hgedge.benchmark.candidates import Candidate, candidates_of, open_bundles
from hgedge.benchmark.environment import environment, machine_name
from hgedge.benchmark.pose_energy import pose_energy
from hgedge.benchmark.scene import Scene, scene_of
from hgedge.benchmark.stages import Timings, time_stages
from hgedge.benchmark.statistics import LEAST_SAMPLES
from hgedge.errors import ConfigError
from hgedge.progress import Progress, no_progress
from hgedge.runtime.pipeline import Pipeline, load

log = logging.getLogger(__name__)

FRAMES = 100
PATIENCE_S = 30.0  # for other processes to leave the CPU alone


@dataclass(frozen=True)
class Wishes:
    """What a run is asked for.

    Attributes:
        data: Folder of a labelled data set; None: latency alone.
        split: Of the data set; None: its own default.
        limit: Score only this many people, spread over the split.
        frames: Samples of each engine, 30 at least.
        baseline: The weights of the bundles' network for PyTorch, by file or name; None: those that are at hand.
        allow_noise: Time even where other processes take the CPU.
        layers: Time every layer too, where the backend has a profiler.
    """

    data: Path | None = None
    split: str | None = None
    limit: int | None = None
    frames: int = FRAMES
    baseline: str | None = None
    allow_noise: bool = False
    layers: bool = False

    def __post_init__(self) -> None:
        if self.frames < LEAST_SAMPLES:
            raise ConfigError(
                f"--frames must be {LEAST_SAMPLES} or more, as fewer tell neither p95 nor an interval, "
                f"but got {self.frames}; {FRAMES} is the default"
            )
        if self.data is None and (self.split is not None or self.limit is not None):
            raise ConfigError("--split and --limit are of a data set, but none is named; add --data DIR")


def bench(
    folders: Sequence[Path],
    build_fp32: BuildFp32,
    wishes: Wishes | None = None,
    parent: Path = Path("engines"),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure bundles beside FP32.

    Args:
        folders: The bundles; none: those in `parent` that fit this machine.
        build_fp32: Builds an FP32 bundle from another's portable half, for its backend, into a folder.
        wishes: What else is asked for.
        parent: Where bundles lie when none is named.
        progress: Is told of every step.

    Returns:
        The document of `hgedge bench`: `environment`, `rows` (a baseline first), `noise_floor`, and on what, when and
        how all was measured.

    Raises:
        HgedgeError: A bundle does not fit this machine, or changed meanwhile; the data set cannot be used; other
            processes take the CPU.
    """
    wishes = wishes or Wishes()
    bundles = open_bundles(folders, parent)
    scene = scene_of(wishes.data, wishes.split, wishes.limit, bundles)
    before = environment()
    with tempfile.TemporaryDirectory(prefix="hgedge-bench-") as work:
        progress("baseline", 0, 1)
        candidates = candidates_of(bundles, wishes.baseline, build_fp32, Path(work))
        progress("baseline", 1, 1)
        with _loaded(candidates) as pipelines:
            timings, noise = _timed(candidates, pipelines, scene, wishes, progress)
            energy = pose_energy(pipelines, scene.picture, scene.box_xyxy, progress)
            scores = {} if scene.people is None else score(candidates, pipelines, *scene.people, progress)
        found = []
        for done, each in enumerate(candidates):
            progress("cold starts", done, len(candidates))
            each.check_unchanged()
            timed = {**rows.timing(each, timings), "energy": energy.get(each.name)}
            apart = rows.on_its_own(each, wishes.layers and not each.is_baseline)
            found.append({**rows.about(each), **timed, **apart, **(scores.get(each.name) or rows.NOT_SCORED)})
            each.check_unchanged()
        progress("cold starts", len(candidates), len(candidates))
    return {
        "taken": datetime.now(timezone.utc).isoformat(" ", "minutes"),
        "machine": machine_name(),
        "environment": before,
        **scene.told,
        "frames": wishes.frames,
        "noise_floor": timings.noise_floor,
        **noise,
        "rows": found,
    }


@contextlib.contextmanager
def _loaded(candidates: Sequence[Candidate]) -> Iterator[dict[str, Pipeline]]:
    with contextlib.ExitStack() as stack:
        yield {each.name: stack.enter_context(load(each.folder)) for each in candidates}


def _timed(
    candidates: Sequence[Candidate], pipelines: Mapping[str, Pipeline], scene: Scene, wishes: Wishes, progress: Progress
) -> tuple[Timings, dict[str, Any]]:
    """Time once others leave the CPU alone; what they did take meanwhile, as JSON.

    Raises:
        NoisyMachine: They do not.
    """
    if not wishes.allow_noise:
        quiet.await_quiet(_also_logged(progress), PATIENCE_S)
    baselines = [each.name for each in candidates if each.is_baseline]
    with quiet.watch() as watch:
        started = time.monotonic()
        timings = time_stages(pipelines, baselines, scene.picture, scene.box_xyxy, wishes.frames, progress)
        time.sleep(max(0.0, 1 - (time.monotonic() - started)))  # the system counts hundredths of a second
    if not wishes.allow_noise:
        quiet.require(watch)
    others = {"share": watch.share, "busiest": watch.busiest}
    return timings, {"noisy": watch.share > quiet.LIMIT, "other_processes": others}


def _also_logged(progress: Progress) -> Progress:
    """Progress that says in the log, too, what is waited for first: nobody may be looking at bars."""

    def told(stage: str, done: int, total: int) -> None:
        if done == 1:
            log.info("%s to leave the CPU alone, for %d s at most", stage, total)
        progress(stage, done, total)

    return told
