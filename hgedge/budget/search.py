"""Find the fastest assignment inside a budget on one half of the people, and judge it once on the other.

An assignment fits where the upper end of its drop's 95 % interval at the loose threshold is within the budget: the same
rule in both halves, so that luck on the first does not promise what the second refuses. First comes every placement
with all groups in INT8. Where the fastest fits, that is all; of two that time cannot tell apart, the one with the
smaller heatmap error is taken. Else, placement by placement, groups are restored to float in the order of their rank
(`sensitivity`), as few as will do: 1, 2, 4, ... then by halves. Then each restored one is given back if the rest still
fits. A placement whose full engine is slower than what fits already has nothing faster to offer, and a mixed engine
must be faster than FP32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hgedge import records
from hgedge.budget.candidate import FP32, BudgetExceeded, Candidate
from hgedge.budget.lab import Drop, Lab, Latency
from hgedge.budget.people import Half
from hgedge.budget.proof import check_provable, smallest_provable, smallest_unmoved
from hgedge.budget.sensitivity import sensitivity
from hgedge.progress import Progress, no_progress

log = logging.getLogger(__name__)

MOST_GIVEN_BACK = 8  # restored groups that are tried in INT8 again, the one least needed first


@dataclass(frozen=True)
class Trial:
    """A candidate, measured.

    Attributes:
        candidate: What it was.
        latency: Of a batch.
        drop: On the half of the people that is called so.
        half: "search", "confirm" or "all".
        fits: Whether the upper end of the drop's interval is within the budget.
    """

    candidate: Candidate
    latency: Latency
    drop: Drop
    half: str
    fits: bool

    @property
    def ms(self) -> float:
        """Median latency."""
        return self.latency.ms

    @property
    def points(self) -> dict[str, float]:
        """The drop at the loose threshold, with `low` and `high`."""
        return next(iter(self.drop.drop.values()))

    def row(self) -> dict[str, Any]:
        """As plain data."""
        kept = records.to_mapping(self.candidate)
        return {
            "half": self.half,
            **kept,
            **records.to_mapping(self.latency),
            **records.to_mapping(self.drop),
            "fits": self.fits,
        }


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes:
        chosen: Confirmed on the second half.
        tried: On the first half, in the order tried, and the confirmation last.
        smallest: The least budget that the people it was confirmed on can prove of such an engine, in points.
        people: How many they are.
    """

    chosen: Trial
    tried: tuple[Trial, ...]
    smallest: float
    people: int


class Search:
    """The trials of one search."""

    def __init__(self, lab: Lab, half: Half, max_drop: float, progress: Progress) -> None:
        self.lab, self.half, self.max_drop, self.progress = lab, half, max_drop, progress
        self.tried: dict[Candidate, Trial] = {}

    def trial(self, candidate: Candidate) -> Trial:
        """Measure a candidate, or recall it."""
        if candidate not in self.tried:
            trial = measured(self.lab, candidate, self.half, self.half, self.max_drop)
            self.tried[candidate] = trial
            self.progress("search", len(self.tried), 0)
            log.info("%s: %.3f ms, %s", candidate.name, trial.ms, told(trial))
        return self.tried[candidate]

    def fastest(self) -> Trial | None:
        """The fastest assignment that fits; None: none does."""
        fulls = sorted(map(self.trial, map(self.lab.subject.full, self.lab.subject.placements)), key=lambda t: t.ms)
        limit = self.lab.latency(FP32, self.half).ms
        best = least_lossy([trial for trial in fulls if trial.fits])
        if best is not None and best.ms >= limit:
            log.warning(
                "INT8 is no faster than FP32 here (%.3f and %.3f ms); consider --precision fp32", best.ms, limit
            )
        for full in fulls:
            if full.fits or full.ms >= (best.ms if best else limit):
                break
            found = self.restored(full.candidate.placement, best.ms if best else limit)
            best = found or best
        return best

    def restored(self, placement: str, limit_ms: float) -> Trial | None:
        """The fastest that fits with as few groups of a placement restored as will do, if faster than a limit."""
        if len(self.lab.subject.groups()) < 2:  # it would be FP32
            return None
        rows = sorted(sensitivity(self.lab, placement, self.half, self.progress), key=lambda row: -row.rank)
        names = [row.group for row in rows]

        def keeping(count: int) -> Trial:
            return self.trial(self.lab.subject.keeping_float(placement, set(names[:count])))

        count = fewest(lambda count: keeping(count).fits, len(names) - 1)
        if count is None:
            return None
        best, kept = keeping(count), set(names[:count])
        for name in reversed(names[max(0, count - MOST_GIVEN_BACK) : count] if count > 1 else []):
            trial = self.trial(self.lab.subject.keeping_float(placement, kept - {name}))
            if trial.fits:
                best, kept = trial, kept - {name}
        return best if best.ms < limit_ms else None


def search(lab: Lab, halves: tuple[Half, Half], max_drop: float, progress: Progress = no_progress) -> Outcome:
    """Find the fastest assignment that loses at most `max_drop` points, and confirm it.

    Args:
        lab: Measures and remembers.
        halves: The people to search on, and those to confirm on.
        max_drop: The budget, in points at the loose threshold.
        progress: Told about what is tried.

    Raises:
        ConfigError: So many people cannot prove so small a budget.
        BudgetExceeded: Nothing fits, or what fitted the first half does not fit the second.
    """
    first, second = halves
    check_provable(max_drop, smallest_unmoved(second), second)
    found = Search(lab, first, max_drop, progress)
    fulls = [found.trial(lab.subject.full(placement)) for placement in lab.subject.placements]
    sound = [trial for trial in fulls if trial.points["low"] <= max_drop]
    if sound:  # what is broken moves joints for another reason
        smallest = min(smallest_provable(trial.drop, first, second) for trial in sound)
        log.info("%d people can prove budgets from %.2f points on", len(second), smallest)
        check_provable(max_drop, smallest, second)
    best = found.fastest()
    tried = tuple(found.tried.values())
    if best is None:
        nearest = min(tried, key=lambda trial: trial.points["high"])
        raise _exceeded("no INT8 engine that is faster than FP32 fits", nearest, tried, max_drop)
    confirmed = measured(lab, best.candidate, second, first, max_drop)
    if not confirmed.fits:
        raise _exceeded("the other half of the people does not confirm it", confirmed, (*tried, confirmed), max_drop)
    return Outcome(confirmed, (*tried, confirmed), smallest_provable(confirmed.drop, second, second), len(second))


def judge(lab: Lab, half: Half, max_drop: float) -> Outcome:
    """The verdict on the one engine that was asked for, on all people, as nothing is chosen.

    Raises:
        ConfigError: So many people cannot prove so small a budget.
        BudgetExceeded: It loses more.
    """
    check_provable(max_drop, smallest_unmoved(half), half)
    trial = measured(lab, lab.subject.asked, half, half, max_drop)
    log.info("%s: %.3f ms, %s", trial.candidate.name, trial.ms, told(trial))
    smallest = smallest_provable(trial.drop, half, half)
    if not trial.fits:
        if trial.points["low"] <= max_drop:
            check_provable(max_drop, smallest, half)
        raise _exceeded("the engine does not fit", trial, (trial,), max_drop)
    return Outcome(trial, (trial,), smallest, len(half))


def measured(lab: Lab, candidate: Candidate, half: Half, timed: Half, max_drop: float) -> Trial:
    """Measure a candidate's drop on some people; `timed` are those whose crops it was timed with."""
    drop = lab.drop(candidate, half)
    fits = next(iter(drop.drop.values()))["high"] <= max_drop
    return Trial(candidate, lab.latency(candidate, timed), drop, half.name, fits)


def check_fits(drop: Drop, max_drop: float) -> None:
    """Raise BudgetExceeded for an engine that loses more where a candidate like it did not."""
    name, points = next(iter(drop.drop.items()))
    if points["high"] > max_drop:
        raise BudgetExceeded(
            f"nothing is built: the engine of the bundle loses {points['points']:.2f} points of {name} "
            f"({points['low']:.2f} to {points['high']:.2f}), more than --max-drop {max_drop:g}, though one built "
            "like it did not; build again, or allow more",
            {"best": None, "tried": []},
        )


def least_lossy(trials: list[Trial]) -> Trial | None:
    """Of trials, the fastest first, that with the least heatmap error among those whose times cannot be told apart."""
    near = [
        trial for trial in trials if trial.ms - trials[0].ms <= max(trial.latency.noise_ms, trials[0].latency.noise_ms)
    ]
    return min(near, key=lambda trial: trial.drop.heatmap_error, default=None)


def fewest(fits: Callable[[int], bool], most: int) -> int | None:
    """The smallest count from 1 to `most` that fits, if more of them fit the better; None: none does."""
    below, count = 0, 1
    while count < most and not fits(count):
        below, count = count, 2 * count
    count = min(count, most)
    if count <= below or not fits(count):
        return None
    while count - below > 1:
        middle = (below + count) // 2
        below, count = (below, middle) if fits(middle) else (middle, count)
    return count


def told(trial: Trial) -> str:
    """The drop of a trial, in words."""
    name, points = next(iter(trial.drop.drop.items()))
    return f"loses {points['points']:.2f} points of {name} ({points['low']:.2f} to {points['high']:.2f})"


def _exceeded(why: str, best: Trial, tried: tuple[Trial, ...], max_drop: float) -> BudgetExceeded:
    return BudgetExceeded(
        f"nothing is built, as {why} --max-drop {max_drop:g}: {best.candidate.name} comes nearest and {told(best)}; "
        "allow more, give more people, or calibrate with other pictures",
        {"best": best.row(), "tried": [trial.row() for trial in tried]},
    )
