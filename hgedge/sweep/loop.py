"""The sweep: every candidate measured and noted as soon as it is known, then the front timed all together."""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgedge.benchmark.environment import environment
from hgedge.budget.notebook import Note, Notebook
from hgedge.builder import BuildOptions
from hgedge.datasets import Dataset
from hgedge.errors import BackendUnavailable, EngineMismatch, ExportError, KernelError, NoisyMachine, QuantizationError
from hgedge.evaluation.labels import Labels
from hgedge.progress import Progress, no_progress
from hgedge.sweep import measure
from hgedge.sweep.grid import Candidate, size_text
from hgedge.sweep.measure import BASELINE
from hgedge.sweep.model import Model
from hgedge.sweep.ranges import Ranges
from hgedge.sweep.rows import HOW, compare, rows_of
from hgedge.sweep.workshop import Workshop

log = logging.getLogger(__name__)

FAILURES = (BackendUnavailable, EngineMismatch, ExportError, KernelError, QuantizationError)  # of one candidate
NOT_TOGETHER: Note = {"ms": {BASELINE: {"p50": 1.0}}}  # the baseline is the unit
Size = tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """What a sweep found.

    Attributes:
        document: For --json, but for recommendations.
        options: What `hgedge build` takes for each row, but for tables.
        tables: Ranges (JSON) of the input sizes whose ranges do not come with the model.
    """

    document: dict[str, Any]
    options: list[BuildOptions]
    tables: dict[Size, str]


@dataclass
class Sweep:
    """One sweep.

    Attributes:
        model: What is swept.
        grid: What is measured.
        dataset: Whose people candidates are scored on.
        labels: Theirs.
        ranges: Of the sizes with INT8 candidates.
        allow_noise: Time whatever other processes do.
        progress: Told about people scored, over all candidates.
    """

    model: Model
    grid: list[Candidate]
    dataset: Dataset
    labels: Labels
    ranges: dict[Size, Ranges]
    allow_noise: bool = False
    progress: Progress = no_progress
    failed: dict[Candidate, str] = field(default_factory=dict)

    def run(self, notebook: Notebook) -> Outcome:
        """Measure all that is not noted.

        Raises:
            NoisyMachine: Other processes take too much of the CPU.
            HgedgeError: No candidate could be built.
        """
        most = max(candidate.num_stacks for candidate in self.grid)
        with Workshop(self.model, self.ranges, most, notebook, self.progress) as workshop:
            try:
                self.each(workshop, notebook)
                together = self.together(workshop, notebook)
            except (KeyboardInterrupt, NoisyMachine):
                log.warning("what was measured is kept: the same command goes on from there")
                raise
            foreign = [hw for hw, ranges in self.ranges.items() if not ranges.own]
            tables = {hw: workshop.table(hw).read_text(encoding="utf-8") for hw in foreign}
        notes = {each: self.notes(each, notebook) for each in self.grid if each not in self.failed}
        rows = rows_of(self.grid, notes, self.failed, together, self.counted)
        compare(
            [row for row in rows if "failed" not in row], [each["accuracy"] for each in notes.values()], self.counted
        )
        document = {**self.head(together), "rows": rows}
        return Outcome(document, [self.model.options_for(candidate) for candidate in self.grid], tables)

    def each(self, workshop: Workshop, notebook: Notebook) -> None:
        """Measure every candidate, and say how long the rest may take."""
        people, started, measured = len(self.labels), time.monotonic(), 0
        for place, candidate in enumerate(self.grid):
            known = set(self.names(candidate).values()) <= notebook.notes.keys()

            def ahead(stage: str, done: int, total: int, place: int = place) -> None:
                if stage == "evaluate":
                    self.progress("sweep", place * people + done, len(self.grid) * people)

            try:
                self.measure(candidate, workshop, notebook, ahead)
            except FAILURES as error:
                self.failed[candidate] = str(error)
                log.warning("%s is left out: %s", candidate.name, error)
                if len(self.failed) == len(self.grid):
                    raise
                continue
            self.progress("sweep", (place + 1) * people, len(self.grid) * people)
            measured += not known
            if not known:
                left = (time.monotonic() - started) / measured * (len(self.grid) - place - 1)
                self.tell(place, candidate, notebook, left)

    def measure(self, candidate: Candidate, workshop: Workshop, notebook: Notebook, ahead: Progress) -> None:
        """Note a candidate's latency and accuracy."""
        names, baseline = self.names(candidate), self.model.baseline

        def latency() -> Note:
            if candidate == baseline:
                return {"ratio": 1.0, "low": 1.0, "high": 1.0, "others": 0.0}
            beside = workshop.bundle(baseline)  # first: its export is not the candidate's
            return measure.latency(
                workshop.bundle(candidate), beside, self.dataset, self.person, self.allow_noise, self.progress
            )

        def accuracy() -> Note:
            return measure.accuracy(workshop.bundle(candidate), self.dataset, self.labels, ahead)

        notebook.once(names["latency"], latency)
        notebook.once(names["accuracy"], accuracy)
        workshop.keep({baseline, *self.front(notebook, NOT_TOGETHER)})

    def together(self, workshop: Workshop, notebook: Notebook) -> Note:
        """Time the front beside the baseline, all in the same rounds, with what comes to the front by that."""
        finalists: set[Candidate] = set()
        found = NOT_TOGETHER
        while not (new := self.front(notebook, found)) <= finalists:
            finalists |= new
            chosen = [candidate for candidate in self.grid if candidate in finalists]

            def timed(chosen: list[Candidate] = chosen) -> Note:
                self.progress("timing the front", 0, 1)
                bundles = {BASELINE: self.model.baseline, **{each.name: each for each in chosen}}
                built = {name: workshop.bundle(each) for name, each in bundles.items()}
                return measure.latencies(built, self.dataset, self.person, self.allow_noise, self.progress)

            found = notebook.once(f"{self.kind} together: {', '.join(map(self.name, chosen))}", timed)
        return found

    def front(self, notebook: Notebook, together: Note) -> set[Candidate]:
        """The Pareto front of those that are noted."""
        known = [each for each in self.grid if set(self.names(each).values()) <= notebook.notes.keys()]
        notes = {candidate: self.notes(candidate, notebook) for candidate in known}
        rows = rows_of(known, notes, {}, together, self.counted)
        return {candidate for candidate, row in zip(known, rows) if row["pareto"]}

    @functools.cached_property
    def counted(self) -> dict[str, np.ndarray]:
        """Metric -> joints of each person that count."""
        return measure.joints_counted(self.labels)

    @property
    def person(self) -> int:
        """Whose picture is timed on."""
        return int(self.labels.indices[0])

    @property
    def kind(self) -> str:
        """What notes of milliseconds are called: those taken amid noise are not taken for others."""
        return "latency amid noise" if self.allow_noise else "latency"

    def names(self, candidate: Candidate) -> dict[str, str]:
        """The names of a candidate's notes."""
        name = self.name(candidate)
        return {"latency": f"{self.kind}: {name}", "accuracy": f"accuracy: {name}"}

    def name(self, candidate: Candidate) -> str:
        """What tells a candidate from others of this notebook, its ranges too."""
        int8 = candidate.precision == "int8"
        return candidate.name + (f" by ranges {self.ranges[candidate.input_hw].key}" if int8 else "")

    def notes(self, candidate: Candidate, notebook: Notebook) -> dict[str, Note]:
        """What is noted of a candidate."""
        return {kind: notebook.notes[name] for kind, name in self.names(candidate).items()}

    def tell(self, place: int, candidate: Candidate, notebook: Notebook, left_s: float) -> None:
        """A line of the log for a candidate that was measured."""
        notes = self.notes(candidate, notebook)
        metric, right = next(iter(notes["accuracy"]["right"].items()))
        percent = 100 * sum(right) / self.counted[metric].sum()
        left = f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
        rest = f"; about {left} left" if place + 1 < len(self.grid) else ""
        log.info(
            "%d of %d: %s: %s %.1f %%, %.2f times as fast as FP32%s",
            *(place + 1, len(self.grid), candidate.name, metric, percent, notes["latency"]["ratio"], rest),
        )

    def head(self, together: Note) -> dict[str, Any]:
        """The document, but for its rows."""
        model, baseline = self.model, self.model.baseline
        loose, tight = self.counted
        return {
            "model": model.network.name,
            "backend": model.options.backend,
            "environment": environment(),
            "data": self.dataset.name,
            "split": self.dataset.split,
            "num_people": len(self.labels),
            "metrics": {"loose": loose, "tight": tight},
            "latency": {
                "how": HOW,
                "rounds": measure.ROUNDS,
                "noise_allowed": self.allow_noise,
                "share_of_others": together["others"],
                "baseline": {"name": baseline.name, "latency_ms": together["ms"][BASELINE]},
            },
            "calibration": {size_text(hw): ranges.said for hw, ranges in self.ranges.items()},
            "remarks": list(model.said),
        }
