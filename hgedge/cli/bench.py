"""`hgedge bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge.cli import options
from hgedge.cli.terminal import Terminal

if TYPE_CHECKING:
    from hgedge.benchmark.report.columns import Column

ENGINES = Path("engines")
NARROW = 110  # columns of a terminal; below, a block an engine


def bench(
    terminal: Terminal,
    bundles: options.Bundles = None,
    data: options.ScoredData = None,
    split: options.Split = None,
    limit: options.LimitPeople = None,
    frames: options.BenchFrames = None,
    baseline: options.Baseline = None,
    report: options.Reports = None,
    allow_noise: options.AllowNoise = False,
) -> None:
    """Measure engines beside FP32: latency of each stage, speed-up, size, memory, and with --data, what they lose.

    The baseline is FP32 in PyTorch where the network's weights are here, else FP32 on the same backend. All engines are
    timed in turn on one picture. What differs by less than the run's own noise is called level. Without bundles, those
    in engines/ that fit this machine are measured.
    """
    from hgedge.benchmark.bench import FRAMES, Wishes
    from hgedge.benchmark.bench import bench as measured
    from hgedge.benchmark.report import report_files

    targets = report or []
    layers = any(target.suffix.lower() in (".html", ".json") for target in targets)
    wishes = Wishes(data, split, limit, FRAMES if frames is None else frames, baseline, allow_noise, layers)
    with report_files(targets) as write:
        with terminal.progress() as progress:
            document = measured(bundles or [], _build_fp32, wishes, ENGINES, progress)
        write(document)
    terminal.result(document, lambda console: show(console, document, targets))


def _build_fp32(bundle: Path, backend: str, folder: Path) -> Path:
    from hgedge.builder import BuildOptions, build

    return build(BuildOptions(model=str(bundle), precision="fp32", backend=backend, output=folder)).bundle


def show(console: Console, document: Mapping[str, Any], targets: Sequence[Path] = ()) -> None:
    """Print what the engines came to, the stages, and how the numbers came about."""
    from hgedge.benchmark.report.columns import columns, conditions, machine, stage_columns

    (name, *numbers), (_, *stages) = columns(document), stage_columns()
    fast = next(place for place, column in enumerate(numbers) if column.heading == "speed-up") + 1
    if console.width >= NARROW:
        for shown in (numbers[:fast], stages, numbers[fast:]):
            console.print(_table([name, *shown], document["rows"]), "")
    else:
        for row in document["rows"]:
            console.print(_block([name, *numbers, *stages], row), "")
    console.print("stages in ms: p50 / p95 / p99")
    for sentence in (f"{machine(document)}.", *conditions(document)):
        console.print(sentence, markup=False, soft_wrap=True)
    for target in targets:
        console.print(f"saved: {target}", markup=False, soft_wrap=True)


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Table:
    from hgedge.benchmark.report.columns import parts

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column.heading, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape("\n".join(filter(None, parts(column, row)))) for column in columns))
    return table


def _block(columns: Sequence[Column], row: Mapping[str, Any]) -> Table:
    """An engine below its name, for narrow terminals."""
    name, *rest = columns
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, title=escape(name.tell(row)), title_justify="left")
    for column in rest:
        if told := column.tell(row):
            table.add_row(column.heading, escape(told))
    return table
