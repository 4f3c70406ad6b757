"""Accuracy against latency as a picture: every candidate with its interval, the front drawn, all labelled."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox, IdentityTransform

from hgedge.sweep.grid import size_text

COLORS = {
    "fp32": "#5b6770",
    "fp16": "#8a5fa8",
    "bf16": "#c7832b",
    "int8 stream": "#1f6f8b",
    "int8 conv": "#5aa469",
}
MARKERS = "osD^vP*X"  # one stack, two, ...
FRONT, FAINT = "#b5483a", "#b8c4c9"
HALO = withStroke(linewidth=2.5, foreground="white")
DPI = 130
RADII = (9, 16, 26, 40, 58, 80, 105)  # points from a dot to its label, the nearest free one
ANGLES = (0, 180, 45, -45, 135, -135, 90, -90, 20, -20, 160, -160, 70, -70, 110, -110)
ROOM = 1.5  # pixels between two labels

Row = Mapping[str, Any]


def plot(path: Path, document: Mapping[str, Any]) -> None:
    """Draw the document of `hgedge sweep`.

    Args:
        path: A .png file.
        document: With `rows`.
    """
    rows = [row for row in document["rows"] if row["accuracy"] is not None]
    figure = Figure(figsize=(11, 7.5), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.075, 0.085, 0.905, 0.815))
    figure.suptitle(_title(document), x=0.075, ha="left", y=0.975, fontsize="medium")
    _draw(axes, rows)
    axes.set(xlabel="latency, ms (median, picture to keypoints)", ylabel=f"{document['metrics']['loose']}, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    _legend(axes, rows)
    canvas.draw()  # type: ignore[no-untyped-call]
    _label(axes, canvas, rows)
    figure.savefig(path, format="png", dpi=DPI)


def _draw(axes: Axes, rows: Sequence[Row]) -> None:
    latencies = np.array([row["latency_ms_p50"] for row in rows])
    front = sorted((row["latency_ms_p50"], row["accuracy"]) for row in rows if row["pareto"])
    axes.step(*zip(*front), where="post", color=FRONT, linewidth=1.4, alpha=0.8, zorder=2)
    for row in rows:
        x, y, interval = row["latency_ms_p50"], row["accuracy"], row["interval"]
        axes.vlines(x, interval["low"], interval["high"], color=FAINT, linewidth=1, alpha=0.6, zorder=1)
        edge, size = (FRONT, 62) if row["pareto"] else ("white", 40)
        axes.scatter(
            x, y, s=size, color=COLORS[_kind(row)], marker=_marker(row), edgecolor=edge, linewidth=1.3, zorder=3
        )
    if latencies.max() > 3 * latencies.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.11)


def _label(axes: Axes, canvas: FigureCanvasAgg, rows: Sequence[Row]) -> None:
    """Name every dot at the nearest free place around it, those of the front first and in full."""
    renderer, unscaled = canvas.get_renderer(), IdentityTransform()  # type: ignore[no-untyped-call]
    dots = [axes.transData.transform((row["latency_ms_p50"], row["accuracy"])) for row in rows]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in dots]
    legend = axes.get_legend()
    taken += [] if legend is None else [legend.get_window_extent(renderer)]
    taken += _steps(sorted(tuple(dots[place]) for place, row in enumerate(rows) if row["pareto"]))
    inside = axes.get_window_extent(renderer)
    for place in sorted(range(len(rows)), key=lambda each: (not rows[each]["pareto"], dots[each][0])):
        row = rows[place]
        font: dict[str, Any] = {"fontweight": "bold", "color": FRONT} if row["pareto"] else {"color": "#3c464c"}
        label = axes.text(
            dots[place][0],
            dots[place][1],
            _text(row),
            transform=unscaled,
            fontsize=7.5,
            zorder=5,
            va="bottom",
            path_effects=[HALO],
            **font,
        )
        drawn = label.get_window_extent(renderer)
        box = spot(tuple(dots[place]), (drawn.width + ROOM, drawn.height + ROOM), taken, inside)
        label.set_position((box.x0, box.y0))
        end = (np.clip(dots[place][0], box.x0, box.x1), np.clip(dots[place][1], box.y0, box.y1))
        leader = zip(dots[place], end)
        axes.plot(*leader, transform=unscaled, color=FAINT, linewidth=0.8, zorder=1.5)
        taken.append(box)


def _steps(corners: Sequence[tuple[float, ...]]) -> list[Bbox]:
    """What the front's line takes up, between dots from left to right."""
    found = []
    for (left, low), (right, high) in itertools.pairwise(corners):
        found += [Bbox([[left, low - 1], [right, low + 1]]), Bbox([[right - 1, low], [right + 1, high]])]
    return found


def spot(dot: tuple[float, float], size: tuple[float, float], taken: Sequence[Bbox], inside: Bbox) -> Bbox:
    """The nearest place for a label about a dot where it covers nothing, or else the least.

    Args:
        dot: In pixels.
        size: Width and height of the label.
        taken: What it must not cover.
        inside: What it must not leave.
    """
    best, least = Bbox.unit(), np.inf
    for radius, angle in itertools.product(RADII, ANGLES):
        across, along = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        center = (
            dot[0] + across * (radius * DPI / 72 + size[0] / 2),
            dot[1] + along * (radius * DPI / 72 + size[1] / 2),
        )
        box = Bbox.from_bounds(center[0] - size[0] / 2, center[1] - size[1] / 2, *size)
        outside = _area(box) - _overlap(box, inside)
        covered = sum(_overlap(box, other) for other in taken) + 10 * outside
        if covered < least - 1e-6:
            best, least = box, covered
        if covered < 1e-6:
            break
    return best


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else _area(shared)


def _text(row: Row) -> str:
    """What a dot is called: in full on the front; elsewhere what colour and marker do not tell."""
    return str(row["name"]) if row["pareto"] else f"{row['num_stacks']}, {size_text(tuple(row['input_hw']))}"


def _kind(row: Row) -> str:
    return " ".join(filter(None, (row["precision"], row["placement"])))


def _marker(row: Row) -> str:
    return MARKERS[(row["num_stacks"] - 1) % len(MARKERS)]


def _legend(axes: Axes, rows: Sequence[Row]) -> None:
    """Precisions by colour, stacks by marker, and the front."""
    plain: dict[str, Any] = {"linestyle": "", "markersize": 7, "markeredgecolor": "white"}
    kinds = [kind for kind in COLORS if kind in {_kind(row) for row in rows}]
    marks = {row["num_stacks"]: _marker(row) for row in sorted(rows, key=lambda row: row["num_stacks"])}
    handles = [Line2D([], [], marker="o", color=COLORS[kind], label=kind, **plain) for kind in kinds]
    handles += [
        Line2D([], [], marker=mark, color="#3c464c", label=f"{count} stack{'s' * (count > 1)}", **plain)
        for count, mark in marks.items()
    ]
    handles.append(Line2D([], [], color=FRONT, label="front"))
    axes.legend(handles=handles, frameon=False, loc="lower right", fontsize="small", ncols=2)


def _title(document: Mapping[str, Any]) -> str:
    machine, latency = document["environment"], document["latency"]
    noise = "; timed amid noise" if latency["noise_allowed"] else ""
    return (
        f"{document['model']} on {document['backend']}: stacks x input sizes x precisions\n"
        f"{document['num_people']} people of {document['data']} {document['split']!r}, bars: 95 % interval; "
        f"{machine['device']['name']}, {machine['cores']} cores{noise}"
    )
