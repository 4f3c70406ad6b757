"""What a verification found: a row a stage, and the mistakes that explain why stages part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One thing compared with another.

    Attributes:
        stage: "crop", "normalised input", "heatmaps" or "keypoints".
        of: What is compared.
        against: With what.
        max: Largest difference, in `unit`; None where the stage was skipped.
        mean: Mean difference, in `unit`.
        unit: "grey levels", "heatmap" (the unit of its values), "px" (of the network's input) or "share".
        value: The figure that decides.
        limit: That it may reach; None: nothing is decided.
        decides: What the figure is, such as "relative RMSE".
        ok: None where nothing is decided.
        note: Why it was skipped, or why it is no more than told.
    """

    stage: str
    of: str
    against: str
    max: float | None = None
    mean: float | None = None
    unit: str = ""
    value: float | None = None
    limit: float | None = None
    decides: str = ""
    ok: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Mistake:
    """Why stages part.

    Attributes:
        name: One of `hgedge.verify.mistakes.MISTAKES`.
        where: The part of the bundle or of the runtime that it lies in.
        text: What is wrong.
        advice: What to do.
        before: How far apart the two sides are, as the stage's `value`.
        after: How far with the mistake taken into account; None where there is no such figure.
    """

    name: str
    where: str
    text: str
    advice: str
    before: float
    after: float | None = None


@dataclass(frozen=True)
class Report:
    """The stages of a bundle in order, and what is wrong with it; `ok` where nothing is."""

    bundle: Path
    precision: str
    backend: str
    stages: tuple[Stage, ...]
    mistakes: tuple[Mistake, ...]
    ok: bool
