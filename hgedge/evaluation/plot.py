"""Accuracy as a picture: a row for each kind, its curve on the left, its joints on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hgedge.evaluation.oks import STATS

BARS = ("PCKh@0.5", "NME", "OKS", "PCK@0.2")  # drawn joint by joint where a document has them
CURVES = ("mean", "pooled", "mean of 14", "pooled 14", "faces")
COLORS = {True: "#1f6f8b", False: "#b8c4c9"}  # the predictions, and those that they are compared with
MOST_LABELS = 40  # joints; more are numbered sparsely

Document = Mapping[str, Any]


def plot(path: Path, document: Document, against: Document | None = None, title: str = "") -> None:
    """Draw the document of an evaluation, with its `curves`.

    Args:
        path: A .png, .svg or .pdf file.
        document: Of the predictions.
        against: Of the predictions that they are compared with.
        title: Stands above all.
    """
    per_keypoint = document["per_keypoint"]
    columns = [column for column in BARS if column in next(iter(per_keypoint.values()))]
    height = max(3.6, 0.22 * min(len(per_keypoint), MOST_LABELS) + 1)
    figure = Figure(figsize=(11, height * len(columns) + 0.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    documents = [(document, True), *([] if against is None else [(against, False)])]
    for (left, right), column in zip(figure.subplots(len(columns), 2, squeeze=False), columns):
        family = column.partition("@")[0]
        if family in document["curves"]:
            _draw_curves(left, family, documents)
        else:
            _draw_bars(left, {name: name for name in STATS}, [(each["metrics"], own) for each, own in documents], "%")
        values = [({n: row[column] for n, row in each["per_keypoint"].items()}, own) for each, own in documents]
        unit = "% of the face's size" if column == "NME" else "%"
        _draw_bars(right, {name: name.replace("_", " ") for name in per_keypoint}, values, f"{column}, {unit}")
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=120)


def _draw_curves(axes: Axes, family: str, documents: Sequence[tuple[Document, bool]]) -> None:
    for document, own in documents:
        curve = document["curves"][family]
        shown = [name for name in CURVES if name in curve["percent"]]
        for name, style in zip(shown, ("-", "--")):
            label = name if own else f"{name}, compared with"
            axes.plot(curve["threshold"], curve["percent"][name], style, color=COLORS[own], label=label)
    curve = documents[0][0]["curves"][family]
    axes.set(xlim=(0, curve["threshold"][-1]), ylim=(0, 100), ylabel=f"{family}, %")
    axes.set_xlabel(f"threshold, in {curve['unit']}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    if family == "NME":
        axes.set_ylabel("faces within the threshold, %")


def _draw_bars(
    axes: Axes, names: Mapping[str, str], documents: Sequence[tuple[Mapping[str, float | None], bool]], label: str
) -> None:
    """Horizontal bars, first name on top; values that are missing have none."""
    rows, thickness = np.arange(len(names)), 0.8 / len(documents)
    for shift, (values, own) in enumerate(documents):
        widths = [values.get(name) for name in names]
        lengths = np.array([np.nan if width is None or not np.isfinite(width) else width for width in widths])
        bars = axes.barh(rows + (shift - (len(documents) - 1) / 2) * thickness, lengths, thickness, color=COLORS[own])
        if len(names) <= MOST_LABELS:
            texts = ["" if np.isnan(length) else f"{length:.1f}" for length in lengths]
            axes.bar_label(bars, texts, padding=2, fontsize="x-small")
    if len(names) <= MOST_LABELS:
        axes.set_yticks(rows, list(names.values()), fontsize="small")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("keypoint, by number")
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
