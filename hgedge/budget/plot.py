"""Cost against saving as a picture: every group's bars in the order of the graph, and one against the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

COST, SAVING, FAINT = "#b5483a", "#1f6f8b", "#b8c4c9"
LABELLED = 8  # groups, first by rank, that are coloured, and named beside their points
LEAST_ERROR = 1e-3  # percent; a cost axis of logarithms has no 0
ROW = 0.21  # inches

Document = Mapping[str, Any]


def plot(path: Path, document: Document) -> None:
    """Draw the document of `hgedge sensitivity`.

    Args:
        path: A .png, .svg or .pdf file.
        document: With `rows`.
    """
    rows = document["rows"]
    height = max(4.5, ROW * len(rows) + 1.6)
    figure = Figure(figsize=(14, height), layout="constrained")
    figure.suptitle(_title(document), fontsize="medium")
    cost, saving, against = figure.subplots(1, 3, width_ratios=(1, 1, 1.9))
    saving.sharey(cost)
    names = [row["group"] for row in rows]
    errors = _errors(rows)
    colors = [COST if index in _first(rows) else FAINT for index in range(len(rows))]
    cost.barh(names, errors, color=colors)
    cost.set_xlabel("heatmap error of it alone in INT8, %")
    saving.barh(names, [row["saved_ms"] for row in rows], xerr=[row["noise_ms"] for row in rows],
                color=SAVING, error_kw={"ecolor": FAINT, "elinewidth": 2})  # fmt: skip
    saving.set_xlabel("saved by it, ms (median, 95 %)")
    saving.tick_params(labelleft=False)
    cost.invert_yaxis()
    cost.margins(y=0.01)
    cost.tick_params(axis="y", labelsize="x-small")
    _scatter(against, rows, errors, colors)
    for axes in (cost, saving, against):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=120)


def _scatter(axes: Axes, rows: Sequence[Document], errors: Sequence[float], colors: Sequence[str]) -> None:
    """A point a group; those to restore first are named."""
    saved, noise = (np.array([row[name] for row in rows]) for name in ("saved_ms", "noise_ms"))
    first = _first(rows)
    axes.errorbar(saved, errors, xerr=noise, fmt="none", ecolor=FAINT, elinewidth=1, alpha=0.7, zorder=1)
    axes.scatter(saved, errors, c=colors, s=32, zorder=2)
    order = sorted(first, key=lambda index: -errors[index])
    spots = _apart([float(np.log10(errors[index])) for index in order], _span(errors) / 30)
    right = float(saved.max() + noise.max())
    for index, spot in zip(order, spots):
        axes.annotate(
            rows[index]["group"],
            (saved[index], errors[index]),
            (right, 10**spot),
            fontsize="x-small",
            va="center",
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7},
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="saved by it, ms", ylabel="heatmap error of it alone in INT8, %")
    axes.set_title("red: the first to be left float, being dear for what they save", fontsize="small")
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.margins(x=0.1)


def _first(rows: Sequence[Document]) -> list[int]:
    """Places of the groups that are to be left float first."""
    return sorted(range(len(rows)), key=lambda index: -rows[index]["rank"])[:LABELLED]


def _errors(rows: Sequence[Document]) -> list[float]:
    """Heatmap errors in percent, within what an axis can show."""
    return [
        float(np.clip(np.nan_to_num(100 * row["cost"]["heatmap_error"], posinf=1e6), LEAST_ERROR, 1e6)) for row in rows
    ]


def _span(errors: Sequence[float]) -> float:
    """Decades between the least and the greatest error, at least one."""
    return max(1.0, float(np.log10(max(errors) / min(errors))))


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Falling values, moved down where they come closer than a gap."""
    spots: list[float] = []
    for value in values:
        spots.append(min(value, spots[-1] - gap) if spots else value)
    return spots


def _title(document: Document) -> str:
    int8, fp32 = document["int8"], document["fp32"]
    error = f"heatmap error {100 * int8['heatmap_error']:.1f} %"
    return (
        f"{document['model']}, INT8 {document['placement']}, {document['backend']}: what each group costs and saves\n"
        f"FP32 {fp32['ms']:.2f} ms; all in INT8 {int8['ms']:.2f} ms, {error}, {_points(int8['drop'])}"
    )


def _points(drop: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(f"{name} {0 - found['points']:+.2f} points" for name, found in drop.items())
