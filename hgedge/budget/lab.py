"""Engines of candidates, measured on the same people, in the same rounds as the full engine asked for and FP32.

Latency is told relative to the full engine in the very rounds that it was taken in, times that engine's own median,
taken once: a machine that is busier an hour later changes both alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hgedge import backends, geometry
from hgedge.backends.base import Session
from hgedge.benchmark.timing import interleaved
from hgedge.budget.candidate import FP32, Candidate, Subject
from hgedge.budget.metric import measures_of
from hgedge.budget.notebook import Note, Notebook
from hgedge.budget.people import Half
from hgedge.bundle import seal
from hgedge.errors import QuantizationError
from hgedge.evaluation.bootstrap import difference_intervals, draw_weights
from hgedge.evaluation.predictions import Predictions
from hgedge.progress import Progress, no_progress
from hgedge.runtime.decode import decode

ROUNDS = 40
PAUSE_S = 0.005  # for the threads of the engine before to go to sleep
WARMUP = 5  # calls of each: of what is searched many engines are timed
COMPARED = 64  # people whose heatmaps are compared with FP32's
NOTCH = 1.57  # McGill, Tukey and Larsen, "Variations of Box Plots", 1978: medians differ where 1.57 IQR / sqrt(n) do

Runs = Mapping[str, Callable[[], Any]]
Timer = Callable[[Runs, int], dict[str, np.ndarray]]


def in_turn(runs: Runs, rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each, by the wall clock."""
    return interleaved(runs, rounds, warmup=WARMUP, pause_s=PAUSE_S)


@dataclass(frozen=True)
class Latency:
    """Of one batch: median in milliseconds, and how far it may be off."""

    ms: float
    noise_ms: float


@dataclass(frozen=True)
class Drop:
    """What a candidate loses against FP32 on the same people.

    Attributes:
        accuracy: Metric -> percent; the loose one first.
        drop: Metric -> `points` lost, and `low` and `high` of the 95 % interval (paired bootstrap over people).
        heatmap_error: See `heatmap_error`.
    """

    accuracy: dict[str, float]
    drop: dict[str, dict[str, float]]
    heatmap_error: float


@dataclass(frozen=True)
class Look:
    """What an engine made of people: their keypoints, and the heatmaps of some."""

    predictions: Predictions
    heatmaps: np.ndarray


class Lab:
    """Builds, runs and times candidates; a context manager.

    Args:
        subject: The network.
        notebook: Remembers every measurement.
        timer: Takes the milliseconds.
        progress: Told about crops cut.
    """

    def __init__(
        self, subject: Subject, notebook: Notebook, timer: Timer = in_turn, progress: Progress = no_progress
    ) -> None:
        self.subject, self.notebook, self.timer, self.progress = subject, notebook, timer, progress
        self._crops: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._fp32: dict[str, Look] = {}
        self._open: dict[Candidate, Session] = {}
        self._anchors, self._other = ExitStack(), ExitStack()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._other.close()
        self._anchors.close()
        self._open.clear()

    def drop(self, candidate: Candidate, half: Half) -> Drop:
        """What a candidate loses on some people."""
        return Drop(**self.notebook.once(f"drop on {half.name}: {candidate.name}", lambda: self._drop(candidate, half)))

    def latency(self, candidate: Candidate, half: Half) -> Latency:
        """How long a candidate takes for a batch of crops."""
        return Latency(**self.notebook.once(f"latency: {candidate.name}", lambda: self._latency(candidate, half)))

    def drop_of(self, session: Session, half: Half) -> Drop:
        """What an engine that was built elsewhere loses on some people; not remembered."""
        return Drop(**self._compared(self._look(session, half), half))

    def _drop(self, candidate: Candidate, half: Half) -> Note:
        fp32 = self._fp32_look(half)
        return self._compared(fp32 if candidate == FP32 else self._look(self._session(candidate), half), half)

    def _compared(self, look: Look, half: Half) -> Note:
        fp32 = self._fp32_look(half)
        ours, theirs = (measures_of(each.predictions, half.labels) for each in (fp32, look))
        found = difference_intervals(ours, theirs, draw_weights(len(half)))
        accuracy = {name: float(value[0]) for measure in theirs for name, value in measure.metrics().items()}
        return {
            "accuracy": {name: round(value, 3) for name, value in accuracy.items()},
            "drop": {name: found[name] for name in accuracy},
            "heatmap_error": round(heatmap_error(look.heatmaps, fp32.heatmaps), 6),
        }

    def _latency(self, candidate: Candidate, half: Half) -> Note:
        full = self.subject.asked
        crops = self._crops_of(half)[0][: self.subject.manifest.batch[0]]
        sessions = {each.name: self._session(each) for each in dict.fromkeys((FP32, full, candidate))}
        runs = {name: lambda session=session: session.run(crops) for name, session in sessions.items()}
        samples = self.timer(runs, ROUNDS)
        if candidate == full:
            return _median(samples[full.name], 1.0)
        return _median(samples[candidate.name] / samples[full.name], self.latency(full, half).ms)

    def _fp32_look(self, half: Half) -> Look:
        if half.name not in self._fp32:
            look = self._look(self._session(FP32), half)
            if not np.isfinite(look.heatmaps).all():
                raise QuantizationError(
                    f"{self.subject.manifest.model.name} gives heatmaps that are not finite in FP32, so nothing can be "
                    "compared with it; check the checkpoint's weights"
                )
            self._fp32[half.name] = look
        return self._fp32[half.name]

    def _look(self, session: Session, half: Half) -> Look:
        crops, affines = self._crops_of(half)
        spec, batch = self.subject.manifest.decode, self.subject.manifest.batch[0]
        compared = set(np.linspace(0, len(crops) - 1, min(COMPARED, len(crops))).round().astype(int).tolist())
        keypoints, kept = [], []
        for start in range(0, len(crops), batch):
            maps = session.run(crops[start : start + batch])
            located = decode(maps, spec.stride, spec.shift, spec.refinement)[0].astype(np.float64)
            keypoints += [geometry.transform(affines[start + i], points) for i, points in enumerate(located)]
            kept += [maps[i].astype(np.float64) for i in range(len(maps)) if start + i in compared]
        return Look(Predictions(np.stack(keypoints), np.ones(len(crops))), np.stack(kept))

    def _crops_of(self, half: Half) -> tuple[np.ndarray, np.ndarray]:
        if half.name not in self._crops:
            self._crops[half.name] = half.crops(self.subject.manifest.input, self.progress)
        return self._crops[half.name]

    def _session(self, candidate: Candidate) -> Session:
        """An engine; FP32 and the full one, which all are timed beside, stay open, another until the next is wanted."""
        if candidate not in self._open:
            anchors = (FP32, self.subject.asked)
            stack = self._anchors if candidate in anchors else self._other
            self._other.close()
            self._open = {each: session for each, session in self._open.items() if each in anchors}
            self._open[candidate] = stack.enter_context(engine(self.subject, candidate))
        return self._open[candidate]


@contextmanager
def engine(subject: Subject, candidate: Candidate) -> Iterator[Session]:
    """Build a candidate's engine in a temporary folder, and load it."""
    manifest = replace(subject.manifest, precision=candidate.precision)
    with tempfile.TemporaryDirectory(prefix="hgedge-") as temporary:
        folder = Path(temporary)
        graph = subject.render(candidate)
        (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        backends.builder(subject.backend).build(folder, manifest, subject.checkpoint, no_progress)
        session: Session = backends.sessions(subject.backend).load(folder, seal(folder, manifest))
        try:
            yield session
        finally:
            session.close()


def heatmap_error(heatmaps: np.ndarray, fp32: np.ndarray) -> float:
    """Root mean square of the difference to FP32's heatmaps over that of FP32's: the median over people.

    Not the mean: one picture whose activations lie far outside of the ranges is clipped by whatever quantises them
    first, so that it may lose more by one group alone than by all, and outweighs everybody else.

    Args:
        heatmaps: (P, K, h, w).
        fp32: The same, finite.
    """
    axes = (1, 2, 3)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        errors = np.sqrt(((heatmaps - fp32) ** 2).sum(axes) / (fp32**2).sum(axes))
    return float(np.median(np.nan_to_num(errors, nan=np.inf)))


def _median(samples: np.ndarray, unit: float) -> Note:
    """Median of samples, and half of its 95 % interval."""
    low, middle, high = np.percentile(samples, (25, 50, 75))
    noise = NOTCH * (high - low) / np.sqrt(len(samples))
    return {"ms": round(float(middle) * unit, 5), "noise_ms": round(float(noise) * unit, 5)}
