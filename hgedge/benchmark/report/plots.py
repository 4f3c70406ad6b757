"""Plots of a bench as inline SVG, whose text and grid take the page's own colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hgedge.benchmark.report.columns import milliseconds

INK, SOFT, LINE = "#010203", "#040506", "#070809"  # stand for the page's colours until the SVG is written
PAGE_COLORS = {INK: "var(--text)", SOFT: "var(--soft)", LINE: "var(--line)"}
BASELINE = "#8b95a5"
ENGINES = ("#0e9cc0", "#ee8434", "#7b61ff", "#23a565", "#d6409f", "#c9a20a", "#d1495b", "#3f6fd8")
PRECISIONS = {"int8": "#0e9cc0", "bf16": "#7b61ff", "fp16": "#23a565", "fp32": "#ee8434"}
OTHER = "#8b95a5"
STAGE_COLORS = {"preprocess": "#7b61ff", "engine": "#0e9cc0", "decode": "#ee8434"}
STYLE: Any = {
    "font.size": 8,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "hgedge",
    "text.parse_math": False,  # names may hold dollars
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH, ROW = 3.9, 0.26  # inches
MOST_JOINTS, MOST_LAYERS = 24, 14  # that are drawn one by one
LONGEST = 34  # letters of a layer's name
USELESS = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
SIZE = re.compile(r' (?:width|height)="[\d.]+pt"')
NUMBERED = re.compile(r' id="[A-Za-z0-9_.]+_\d+"')  # nothing refers to them, and several plots share a page

Row = Mapping[str, Any]


def colors(rows: Sequence[Row]) -> dict[str, str]:
    """Engine -> its colour, in all plots."""
    own = iter(ENGINES * (1 + len(rows) // len(ENGINES)))
    return {row["name"]: BASELINE if row["is_baseline"] else next(own) for row in rows}


def latency(rows: Sequence[Row]) -> str:
    """The share of frames that are done within a time, of every engine."""

    def draw(axes: Axes) -> None:
        for row in rows:
            taken = np.sort(row["samples_ms"]["end_to_end"])
            share = 100 * np.arange(1, len(taken) + 1) / len(taken)
            axes.step(taken, share, where="post", color=colors(rows)[row["name"]], linewidth=1.8)
        axes.set(xscale="log", ylim=(0, 101), xlabel="end to end, ms", ylabel="frames done, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _leading(value) in (2, 5) else "")
        axes.margins(x=0.03)

    return _plot(draw, 2.7)


def stages(rows: Sequence[Row]) -> str:
    """Where the time of a frame goes: medians of the stages, one behind the other, as shares."""

    def draw(axes: Axes) -> None:
        places, left = np.arange(len(rows)), np.zeros(len(rows))
        medians = {stage: np.array([row["latency_ms"][stage]["p50"] for row in rows]) for stage in STAGE_COLORS}
        total = np.sum(list(medians.values()), axis=0)
        for stage, color in STAGE_COLORS.items():
            axes.barh(places, 100 * medians[stage] / total, 0.62, left, color=color)
            left += 100 * medians[stage] / total
        for place, row in zip(places, rows):
            axes.text(101, float(place), f"{milliseconds(row['latency_ms']['end_to_end']['p50'])} ms", va="center")
        _names(axes, [row["name"] for row in rows])
        axes.set(xlabel="share of the time, %", xlim=(0, 120), xticks=range(0, 101, 25))

    return _plot(draw, 0.8 + 1.2 * ROW * len(rows))


def accuracy(rows: Sequence[Row], metric: str) -> str:
    """A metric over the median time of a frame, with the 95 % intervals of both."""

    def draw(axes: Axes) -> None:
        for row in rows:
            median, value = row["latency_ms"]["end_to_end"], row["accuracy"][metric]
            spread = _around(value, row["accuracy_intervals"].get(metric))
            across = _around(median["p50"], median["p50_interval"])
            color, size = colors(rows)[row["name"]], 7 if row["is_baseline"] else 8
            axes.errorbar(
                [median["p50"]], [value], spread, across, "s" if row["is_baseline"] else "o", color=color,
                markersize=size, elinewidth=1, capsize=2,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="end to end, ms (median)", ylabel=f"{metric}, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _leading(value) in (2, 5) else "")
        axes.margins(0.15)

    return _plot(draw, 2.7)


def joints(rows: Sequence[Row], metric: str) -> str:
    """Points that each joint loses against the baseline; of many joints those that lose most."""
    lost = {row["name"]: row["drop_per_keypoint"] for row in rows if not row["is_baseline"]}
    worst = _worst({joint: [values.get(joint) for values in lost.values()] for joint in next(iter(lost.values()))})

    def draw(axes: Axes) -> None:
        thickness = 0.78 / len(lost)
        for shift, (name, values) in enumerate(lost.items()):
            places = np.arange(len(worst)) + (shift - (len(lost) - 1) / 2) * thickness
            lengths = [np.nan if values[joint] is None else values[joint] for joint in worst]
            axes.barh(places, lengths, thickness, color=colors(rows)[name])
        axes.axvline(0, color=SOFT, linewidth=0.8)
        _names(axes, [joint.replace("_", " ") for joint in worst])
        axes.set_xlabel(f"points of {metric} lost")

    return _plot(draw, 0.7 + max(ROW, 0.1 * len(lost)) * len(worst))


def layers(timed: Sequence[Row]) -> str:
    """The layers that take longest, in the colours of their precisions."""
    worst = sorted(timed, key=lambda layer: -layer["ms"])[:MOST_LAYERS]

    def draw(axes: Axes) -> None:
        times = [layer["ms"] for layer in worst]
        shades = [PRECISIONS.get(layer["precision"], OTHER) for layer in worst]
        axes.barh(np.arange(len(times)), times, 0.7, color=shades)
        for place, time in enumerate(times):
            axes.text(time, place, f" {milliseconds(time)}", va="center")
        _names(axes, [layer["name"] for layer in worst])
        axes.set_xlabel(f"ms, the {len(worst)} that take longest" if len(worst) < len(timed) else "ms")
        axes.margins(x=0.16)

    return _plot(draw, 0.7 + 0.8 * ROW * len(worst))


def _plot(draw: Callable[[Axes], None], height: float) -> str:
    """A figure as an SVG element that fills the width of what it stands in."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = NUMBERED.sub("", USELESS.sub("", out.getvalue())).strip()
    text = SIZE.sub("", text, count=2)  # the first two are the figure's own
    for color, page in PAGE_COLORS.items():
        text = text.replace(color, page)
    return text


def _names(axes: Axes, names: Sequence[str]) -> None:
    """Names of horizontal bars, the first on top."""
    short = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}" for name in names]
    axes.set_yticks(range(len(names)), short)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()


def _worst(lost: Mapping[str, Sequence[float | None]]) -> list[str]:
    """Joints in order; of more than can be drawn, those that lose most in any engine."""
    known = {joint: [value for value in values if value is not None] for joint, values in lost.items()}
    kept = sorted((joint for joint in known if known[joint]), key=lambda joint: -max(known[joint]))[:MOST_JOINTS]
    return [joint for joint in lost if joint in kept]


def _around(value: float, interval: Mapping[str, float] | None) -> list[list[float]] | None:
    """How far an interval's ends lie from its value, as Matplotlib takes it."""
    if interval is None:
        return None
    return [[max(0.0, value - interval["low"])], [max(0.0, interval["high"] - value)]]


def _leading(value: float) -> int:
    return round(value / 10 ** np.floor(np.log10(value))) if value > 0 else 0
