"""What one kind of accuracy says about predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hgedge.evaluation.curve import Curve
from hgedge.evaluation.measure import Measure


@dataclass(frozen=True)
class Family:
    """Metrics of one kind.

    Attributes:
        name: "PCK", "PCKh", "NME" or "OKS".
        measures: What its metrics are averages of.
        counted: (P, K) bool, the joints that count; those of people who are left out do not.
        curve: Share of what is right over the threshold, where there is one.
        totals: Metrics that are no averages over people, such as AP: name -> percent.
    """

    name: str
    measures: tuple[Measure, ...]
    counted: np.ndarray
    curve: Curve | None = None
    totals: Mapping[str, float] = field(default_factory=dict)
