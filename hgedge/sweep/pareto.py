"""The Pareto front: what nothing else beats in both accuracy and time."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other dominates, by rising time; equal points do not dominate one another.

    Args:
        points: (milliseconds, accuracy) each; one dominates another if it is no slower and no less accurate, and one
            of both strictly.
    """
    best = float("-inf")
    found: list[int] = []
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    for place in order:
        equal = found and points[place] == points[found[-1]]
        if points[place][1] > best or equal:
            found.append(place)
            best = points[place][1]
    return found
