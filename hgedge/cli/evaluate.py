"""`hgedge evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from hgedge.cli import options
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

NARROW = 100  # columns of a terminal


def evaluate(
    terminal: Terminal,
    data: options.Data,
    target: options.Target = None,
    split: options.Split = None,
    limit: options.LimitPeople = None,
    predictions: options.PredictionsFile = None,
    against: options.Against = None,
    flip_test: options.FlipTest = False,
    average_stacks: options.AverageStacks = False,
    simulate_fp16: options.SimulateFp16 = False,
    plot: options.Plot = None,
    save_predictions: options.SavePredictions = None,
) -> None:
    """Measure accuracy on a labelled data set: PCK, PCKh, NME or OKS-AP, whichever it allows, in percent."""
    if (target is None) == (predictions is None):
        given = "neither" if target is None else "both"
        raise ConfigError(f"give one of BUNDLE_OR_MODEL and --predictions FILE, but got {given}")
    how = {"flip_test": flip_test, "average_stacks": average_stacks, "simulate_fp16": simulate_fp16}
    if predictions is not None and any(how.values()):
        names = "--flip-test, --average-stacks and --simulate-fp16"
        raise ConfigError(f"{names} are for running a model, but --predictions runs none")
    from hgedge.evaluation import outputs
    from hgedge.evaluation.evaluate import SIMULATED, open_people, predictions_of
    from hgedge.evaluation.predictions import read_predictions
    from hgedge.evaluation.report import report

    dataset, labels = open_people(data, split, limit)
    other = None if against is None else read_predictions(against, labels)
    with ExitStack() as files:
        save = files.enter_context(outputs.predictions_file(save_predictions))
        draw = files.enter_context(outputs.plot_file(plot))
        if predictions is not None:
            found = read_predictions(predictions, labels)
        else:
            with terminal.progress() as progress:
                found = predictions_of(str(target), dataset, labels.indices, progress, **how)
        document = report(found, labels, other, with_curves=plot is not None) | (SIMULATED if simulate_fp16 else {})
        save(found, labels)
        draw(document, other, labels, f"{predictions or target} on {labels.data}")
    terminal.result(document, lambda console: show(console, document))


def show(console: Console, document: Mapping[str, Any]) -> None:
    """Print single numbers, then a table for each kind of accuracy, then what is between two predictions."""
    metrics, intervals, per_keypoint = (document[key] for key in ("metrics", "intervals", "per_keypoint"))
    if "simulated" in document:
        told = f"simulated: {document['simulated'].upper()} arithmetic, every tensor rounded; not the engine"
        console.print(told, soft_wrap=True)
    single = [name for name in metrics if " " not in name]
    if single:
        table = _table("metric", "%", "95 %")
        for name in single:
            table.add_row(name, _percent(metrics[name]), _range(intervals.get(name)))
        console.print(table, "")
    averaged = [name.partition(" ")[0] for name in metrics if " " in name]
    columns = dict.fromkeys([*next(iter(per_keypoint.values()), {}), *averaged])
    for family in dict.fromkeys(map(_family, columns)):
        chosen = [column for column in columns if _family(column) == family]
        console.print(_keypoints(chosen, document, console.width < NARROW), "")
    differences = {name: found["difference"] for name, found in intervals.items() if "difference" in found}
    if differences:
        table = _table("against the other", "points", "95 %")
        for name, found in differences.items():
            if " " not in name or "pooled" in name or name.endswith(" mean"):
                table.add_row(name, f"{found['points']:+.2f}", _range(found, "+.2f"))
        console.print(table, "")
    for family, counts in document["families"].items():
        people, keypoints, left_out = (counts[f"num_{what}"] for what in ("people", "keypoints", "left_out"))
        console.print(f"{family}: {people} people, {keypoints} keypoints; {left_out} people left out")


def _keypoints(columns: list[str], document: Mapping[str, Any], narrow: bool) -> Table:
    """A row for each joint and each average, a column for each threshold, with its heading broken if room is narrow."""
    metrics, intervals = document["metrics"], document["intervals"]
    table = _table("keypoint", *(column.replace("@", "\n@") if narrow else column for column in columns))
    for name, values in document["per_keypoint"].items():
        table.add_row(name, *(_percent(values.get(column)) for column in columns))
    table.add_section()
    for average in dict.fromkeys(name.partition(" ")[2] for name in metrics if name.partition(" ")[0] in columns):
        names = [f"{column} {average}".strip() for column in columns]
        if average:
            table.add_row(average, *(_percent(metrics.get(name)) for name in names))
        if "pooled" in average:
            table.add_row("  95 %", *(_range(intervals.get(name)) for name in names))
    return table


def _family(column: str) -> str:
    """The table that a column stands in: the kind of accuracy, without what is measured of it."""
    kind = column.partition("@")[0].partition("-")[0]
    return "NME" if kind == "within" else kind


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, justify="right")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _range(interval: Mapping[str, float] | None, form: str = ".1f") -> str:
    return f"{interval['low']:{form}} to {interval['high']:{form}}" if interval and "low" in interval else ""
