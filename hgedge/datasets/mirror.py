"""Which keypoint becomes which in a mirrored picture, told from the names' left and right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hgedge.pose import KeypointSet

SIDE = re.compile(r"(?<![a-z])(left|right|l|r)(?![a-z])")
OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def mirrored_indices(names: Sequence[str]) -> tuple[int, ...]:
    """For each name the index of the one with left and right exchanged; itself where there is none.

    Args:
        names: Lower case; a side is a word of its own, such as in `left_knee`, `knee_l` or `eye left`.
    """
    index = {name: position for position, name in enumerate(names)}
    partners = [index.get(SIDE.sub(lambda side: OTHER[side[0]], name)) for name in names]
    return tuple(own if partner is None else partner for own, partner in enumerate(partners))


def sided_set(name: str, names: Sequence[str], skeleton: Sequence[tuple[int, int]]) -> KeypointSet:
    """A keypoint set that is mirrored as its names say."""
    return KeypointSet(name, tuple(names), tuple(skeleton), mirrored_indices(names))
