"""From the front to a recipe: the fastest that is nearly as accurate as the best, and the best that is fast enough."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hgedge.builder import BuildOptions
from hgedge.models.zoo import DEFAULT, SIZES
from hgedge.spec import EngineOptions

NOT_OF_A_RECIPE = ("output", "force", "data", "max_drop", "calibration_images", "calibration_method", "engine")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Recommendation:
    """One row for one wish.

    Attributes:
        wish: "fastest within 1 point of the best".
        file: Name of its recipe.
        row: Its place among the rows; None: none is so.
        said: The row and its figures, or why there is none.
    """

    wish: str
    file: str
    row: int | None
    said: str


def recommendations(rows: Sequence[Row], points: float, under_ms: float) -> list[Recommendation]:
    """What to build.

    Args:
        rows: Of a sweep.
        points: That accuracy may lie below that of the most accurate row.
        under_ms: That latency must be below.
    """
    plural = "point" if points == 1 else "points"
    fastest, best = fastest_within(rows, points), best_under(rows, under_ms)
    return [
        _recommendation(
            rows, f"fastest within {points:g} {plural} of the best", f"within-{points:g}-{plural}", fastest
        ),
        _recommendation(rows, f"best under {under_ms:g} ms", f"under-{under_ms:g}-ms", best),
    ]


def fastest_within(rows: Sequence[Row], points: float) -> int | None:
    """Place of the fastest row that is at most so many points below the most accurate; None without rows."""
    known = _known(rows)
    if not known:
        return None
    least = max(rows[place]["accuracy"] for place in known) - points
    near = [place for place in known if rows[place]["accuracy"] >= least - 1e-9]  # of three decimals
    return min(near, key=lambda place: (rows[place]["latency_ms_p50"], -rows[place]["accuracy"]))


def best_under(rows: Sequence[Row], under_ms: float) -> int | None:
    """Place of the most accurate row of those that take less than so many milliseconds; None where none does."""
    fast = [place for place in _known(rows) if rows[place]["latency_ms_p50"] < under_ms]
    return max(fast, key=lambda place: (rows[place]["accuracy"], -rows[place]["latency_ms_p50"]), default=None)


def figures(row: Row) -> str:
    """A row in words."""
    below, interval = row["below_best"], row["interval"]
    return (
        f"{row['name']}: {row['latency_ms_p50']:.2f} ms, {row['accuracy']:.1f} % "
        f"({interval['low']:.1f} to {interval['high']:.1f}), {below['points']:.2f} points below the best "
        f"({below['low']:.2f} to {below['high']:.2f})"
    )


def recipe_text(options: BuildOptions, comments: Sequence[str]) -> str:
    """A recipe that `hgedge build` takes from any folder.

    Args:
        options: What it is to build; files are named in full.
        comments: Lines of its head.
    """
    model = options.model or DEFAULT
    whole = {"model": model if model in SIZES else _in_full(model)}
    if options.keypoints is not None and options.keypoints.endswith(".toml"):
        whole["keypoints"] = _in_full(options.keypoints)
    if options.calibration is not None:
        whole["calibration"] = _in_full(options.calibration)
    names = [f.name for f in (*_own_fields(), *dataclasses.fields(EngineOptions)) if f.name not in NOT_OF_A_RECIPE]
    default = BuildOptions()
    lines = [f"# {comment}" for comment in comments]
    for name in names:
        value = whole.get(name, getattr(options, name))
        if name in ("model", "precision", "backend") or value != getattr(default, name):
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _own_fields() -> list[dataclasses.Field[Any]]:
    inherited = {option.name for option in dataclasses.fields(EngineOptions)}
    return [option for option in dataclasses.fields(BuildOptions) if option.name not in inherited]


def _in_full(path: str | Path) -> str:
    return str(Path(path).resolve())


def _known(rows: Sequence[Row]) -> list[int]:
    return [place for place, row in enumerate(rows) if row["accuracy"] is not None]


def _recommendation(rows: Sequence[Row], wish: str, file: str, row: int | None) -> Recommendation:
    if row is not None:
        return Recommendation(wish, f"{file}.toml", row, figures(rows[row]))
    quickest = min((rows[place] for place in _known(rows)), key=lambda each: each["latency_ms_p50"], default=None)
    said = "none" if quickest is None else f"none; the fastest is {figures(quickest)}"
    return Recommendation(wish, f"{file}.toml", None, said)
