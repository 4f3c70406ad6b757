"""`hgedge verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge import records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal

if TYPE_CHECKING:
    from hgedge.verify.report import Mistake, Report, Stage

NUMBERS = ("max", "mean", "limit")  # columns
VERDICTS = {True: "yes", False: "NO", None: "told"}


def verify(terminal: Terminal, bundle: options.Bundle) -> int:
    """Replay a bundle's golden inputs through its graphs and its engine, and name the mistake where they part.

    What is compared: this machine's cropping with its definition; the golden inputs with the photograph they show; the
    FP32 graph on input normalised as the manifest says with what FP32 gave; the engine's graph with the FP32 graph; the
    engine with its graph and with what it gave when it was measured; decoding with its definition. What the parts of a
    bundle agree on is not proved right: of an ONNX file that was built with a wrong --mean, every part has the same
    mistake, and only labelled pictures show it: hgedge evaluate. Exits with 1 where something parts.
    """
    from hgedge.verify.replay import verify as replayed

    report = replayed(bundle)
    terminal.result(records.to_mapping(report), lambda console: show(console, report))
    return 0 if report.ok else 1


def show(console: Console, report: Report) -> None:
    """Print the stages as a table, then the verdict and every mistake."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    for name in ("stage", "compared", "max", "mean", "decides", "limit", "ok"):
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    for stage in report.stages:
        table.add_row(*map(escape, _row(stage)))
    console.print(table, "")
    if report.ok:
        skipped = sum(stage.max is None for stage in report.stages)
        but = f"; {skipped} of {len(report.stages)} stages could not be compared" if skipped else ""
        console.print(
            f"{escape(str(report.bundle))} ({report.precision}, {report.backend}): all agree{but}", soft_wrap=True
        )
    for mistake in report.mistakes:
        console.print(escape(_told(mistake)), soft_wrap=True)


def _row(stage: Stage) -> tuple[str, ...]:
    compared = f"{stage.of} / {stage.against}"
    if stage.max is None or stage.mean is None:
        return stage.stage, f"{compared}: {stage.note}", "", "", "not compared", "", ""
    decides = stage.note if stage.value is None else f"{stage.decides} {stage.value:.2g}"
    limit = "" if stage.limit is None else f"{stage.limit:.2g}"
    unit = "" if stage.unit == "heatmap" else f" {stage.unit}"
    return stage.stage, compared, f"{stage.max:.2g}{unit}", f"{stage.mean:.2g}", decides, limit, VERDICTS[stage.ok]


def _told(mistake: Mistake) -> str:
    figures = f"{mistake.before:.2g}" if mistake.after is None else f"{mistake.before:.2g}, with it {mistake.after:.2g}"
    return f"{mistake.name} in {mistake.where}: {mistake.text} [apart by {figures}]\n  {mistake.advice}"
