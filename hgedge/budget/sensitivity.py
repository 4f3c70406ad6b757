"""What every group costs and saves in INT8.

Cost: an engine with that group alone in INT8 against FP32: points at the loose and the tight threshold, and the error
of the heatmaps. One group moves fewer joints than a whole engine's rounding does (hgedge/DESIGN.md, "What INT8 engines
have in common"), so its points are mostly noise, which their intervals show; the error of the heatmaps, with all else
exact, is smooth. Groups are ranked by its square, as errors of many independent roundings add up in squares.

Saving: milliseconds that the full INT8 engine loses where that group alone is float.
"""

from __future__ import annotations

from dataclasses import dataclass

from hgedge.budget.lab import Drop, Lab
from hgedge.budget.people import Half
from hgedge.progress import Progress, no_progress

LEAST_SAVED = 0.005  # share of the full engine's time; less is as good as nothing


@dataclass(frozen=True)
class Row:
    """One group.

    Attributes:
        group: Its name.
        convs: Its convolutions.
        cost: Of it alone in INT8.
        saved_ms: By it in INT8.
        noise_ms: How far that may be off.
        rank: Square of the heatmaps' error per millisecond saved, or per `noise_ms` where that is more: the greatest
            should be left float first.
    """

    group: str
    convs: tuple[str, ...]
    cost: Drop
    saved_ms: float
    noise_ms: float
    rank: float


def sensitivity(lab: Lab, placement: str, half: Half, progress: Progress = no_progress) -> list[Row]:
    """Measure every group, or recall it; in the order of the graph.

    Args:
        lab: Measures and remembers.
        placement: Of the INT8 engine.
        half: The people to measure on.
        progress: Told about groups done.
    """
    subject, rows = lab.subject, []
    groups = subject.groups()
    full = lab.latency(subject.full(placement), half)
    for done, (group, convs) in enumerate(groups.items()):
        progress(f"sensitivity of {placement}", done, len(groups))
        cost = lab.drop(subject.keeping_float(placement, groups.keys() - {group}), half)
        without = lab.latency(subject.keeping_float(placement, {group}), half)
        saved = without.ms - full.ms
        rank = cost.heatmap_error**2 / max(saved, without.noise_ms, LEAST_SAVED * full.ms)
        rows.append(Row(group, convs, cost, round(saved, 5), without.noise_ms, rank))
    progress(f"sensitivity of {placement}", len(groups), len(groups))
    return rows
