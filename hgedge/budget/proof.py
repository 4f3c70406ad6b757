"""What so many people can prove.

A drop of at most P points is proven where the upper end of its 95 % interval (paired bootstrap over people) is at most
P. An engine that loses nothing still moves joints in and out, so its interval reaches from about -h to h: no P below
the half-width h can be expected to be proven. Nor, even if not one joint moves, any below 300 / n points with n joints
(the rule of three: 3 / n is the upper 95 % bound of a share of which n trials showed none).

Source: the interval, Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for n independent
joints, b lost and c found, h is 1.96 sqrt(b + c - (b - c)^2 / n) / n, after McNemar, Psychometrika 1947, and Agresti,
"Categorical Data Analysis", section 11.1; the rule of three, Hanley and Lippman-Hand, JAMA 1983.
"""

from __future__ import annotations

import math

from hgedge.budget.lab import Drop
from hgedge.budget.metric import counted_joints
from hgedge.budget.people import Half
from hgedge.errors import ConfigError

RULE_OF_THREE = 300.0  # points times joints


def smallest_unmoved(confirm: Half) -> float:
    """The smallest P that these people can prove even of an engine that moves no joint, in points."""
    return RULE_OF_THREE / counted_joints(confirm.labels)


def smallest_provable(drop: Drop, search: Half, confirm: Half) -> float:
    """The smallest P that the confirming half can prove of an engine that moves as many joints as this one, in points.

    Args:
        drop: Of an engine on the searching half; the half-width of its interval goes with one over the root of people.
        search: The people of that half.
        confirm: Those who the verdict is given on.
    """
    loose = next(iter(drop.drop.values()))
    half_width = (loose["high"] - loose["low"]) / 2 * math.sqrt(len(search) / len(confirm))
    return max(half_width, smallest_unmoved(confirm))


def check_provable(max_drop: float, smallest: float, confirm: Half) -> None:
    """Raise ConfigError for a budget below what these people can prove."""
    if max_drop < smallest:
        half = "" if confirm.name == "all" else ", one half"
        least = math.ceil(100 * smallest) / 100
        raise ConfigError(
            f"--max-drop must be at least {least:.2f} points to be proven on {len(confirm)} people "
            f"({counted_joints(confirm.labels)} joints{half} of {confirm.labels.data}), but got {max_drop:g}; "
            f"give more people, or --max-drop {least:.2f}"
        )
