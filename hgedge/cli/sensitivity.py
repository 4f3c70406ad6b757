"""`hgedge sensitivity`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge.cli import options
from hgedge.cli.build import options_from, points
from hgedge.cli.terminal import Terminal


def sensitivity(
    terminal: Terminal,
    data: options.Data,
    model: options.Model = None,
    split: options.Split = None,
    limit: options.LimitPeople = None,
    backend: options.Backend = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = None,
    calibration_method: options.CalibrationMethod = None,
    placement: options.Placement = None,
    float_groups: options.FloatGroups = None,
    num_stacks: options.NumStacks = None,
    input_size: options.InputSize = None,
    keypoints: options.Keypoints = None,
    mean: options.Mean = None,
    std: options.Std = None,
    color: options.Color = None,
    heatmaps: options.Heatmaps = None,
    plot: options.SensitivityPlot = None,
) -> None:
    """Tell what each group of layers costs in INT8, in points and heatmap error, and what it saves, in milliseconds."""
    given: dict[str, Any] = locals()
    own = ("terminal", "split", "limit", "plot")
    asked = {name: value for name, value in given.items() if name not in own and value is not None}
    from hgedge.builder.budget import sensitivity_document
    from hgedge.evaluation.outputs import PLOTS, whole_file

    with nullcontext() if plot is None else whole_file(plot, PLOTS) as path, terminal.progress() as progress:
        document = sensitivity_document(options_from(asked), split, limit, progress)
        if path is not None:
            from hgedge.budget.plot import plot as draw

            draw(path, document)
    terminal.result(document, lambda console: show(console, document))


def show(console: Console, document: Mapping[str, Any]) -> None:
    """Print a row a group, those first that are worth most in float, then the engines with none and all in INT8."""
    loose, tight = document["metrics"].values()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    table.add_column("group", no_wrap=True)
    for heading in ("heatmap error", f"{loose}, points lost", f"{tight}, points lost", "saves"):
        table.add_column(heading, justify="right")
    for row in sorted(document["rows"], key=lambda row: -row["rank"]):
        cost = row["cost"]
        table.add_row(
            escape(row["group"]),
            f"{100 * cost['heatmap_error']:.2f} %",
            *(points(cost["drop"][name]) for name in (loose, tight)),
            f"{row['saved_ms']:+.3f} ± {row['noise_ms']:.3f} ms",
        )
    table.add_section()
    for name, what in (("fp32", "none: FP32"), ("int8", f"all: INT8 {document['placement']}")):
        whole = document[name]
        lost = [points(whole["drop"][metric]) for metric in (loose, tight)]
        table.add_row(what, f"{100 * whole['heatmap_error']:.2f} %", *lost, f"takes {whole['ms']:.3f} ms")
    console.print(table)
    console.print(
        f"{document['num_people']} people of {document['data']} {document['split']!r}: the half that builds search "
        "on. A group costs what it alone in INT8 loses against FP32; it saves what is lost where it alone is float.",
        markup=False,
    )
