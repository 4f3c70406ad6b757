"""`hgedge sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge.cli import options
from hgedge.cli.build import options_from
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

OUTPUT = Path("sweeps")
UNDER_MS = 10.0
OWN = ("data", "split", "limit", "stacks", "sizes", "precisions", "placements", "points", "under", "output",
       "allow_noise", "fresh")  # fmt: skip


def sweep(
    terminal: Terminal,
    data: options.Data,
    model: options.Model = None,
    split: options.Split = None,
    limit: options.LimitPeople = None,
    backend: options.Backend = None,
    stacks: options.Stacks = None,
    sizes: options.InputSizes = None,
    precisions: options.Precisions = None,
    placements: options.Placements = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = None,
    calibration_method: options.CalibrationMethod = None,
    points: options.WithinPoints = 1.0,
    under: options.UnderMs = None,
    output: options.SweepFolder = None,
    allow_noise: options.AllowNoise = False,
    fresh: options.Fresh = False,
    keypoints: options.Keypoints = None,
    mean: options.Mean = None,
    std: options.Std = None,
    color: options.Color = None,
    heatmaps: options.Heatmaps = None,
) -> int:
    """Measure stacks x input sizes x precisions x placements, and recommend what to build; goes on if interrupted."""
    given: dict[str, Any] = locals()
    if not points >= 0 or not (under is None or under > 0):
        raise ConfigError(f"--points must not be negative and --under be above 0, but got {points} and {under}")
    return run_sweep(**given)


def run_sweep(terminal: Terminal, **given: Any) -> int:
    """Sweep, from the options that were given; the exit code tells whether what was wished for is there."""
    from hgedge.sweep.files import ready, save
    from hgedge.sweep.model import Axes
    from hgedge.sweep.recommend import recommendations
    from hgedge.sweep.start import sweep as measure

    own = {name: given.pop(name) for name in OWN}
    build = options_from({name: value for name, value in given.items() if value is not None})
    axes = Axes(_counts(own["stacks"]), _sizes(own["sizes"]), _words(own["precisions"]), _words(own["placements"]))
    under = own["under"]
    folder = own["output"] or OUTPUT / Path(build.model or "default").stem
    how = {name: own[name] for name in ("split", "limit", "allow_noise", "fresh")}
    with ready(folder), terminal.progress() as progress:
        outcome = measure(build, axes, own["data"], progress=progress, **how)
        recommended = recommendations(outcome.document["rows"], own["points"], UNDER_MS if under is None else under)
        document = save(folder, outcome, recommended)
    terminal.result(document, lambda console: show(console, document, folder))
    return int(recommended[0].row is None or (under is not None and recommended[1].row is None))


def show(console: Console, document: Mapping[str, Any], folder: Path) -> None:
    """Print a row a candidate by rising latency, those of the front marked, then what to build."""
    from hgedge.sweep.page import HEADINGS, cells

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(
            heading, justify="left" if heading == "precision" else "right", no_wrap=heading != HEADINGS[-2]
        )
    known = [row for row in document["rows"] if row["accuracy"] is not None]
    for row in sorted(known, key=lambda row: row["latency_ms_p50"]):
        table.add_row(*cells(row), style="bold" if row["pareto"] else None)
    console.print(table)
    for row in document["rows"]:
        if "failed" in row:
            console.print(f"{row['name']} is left out: {row['failed']}", markup=False, soft_wrap=True)
    baseline, metric = document["latency"]["baseline"], document["metrics"]["loose"]
    console.print(
        f"*: nothing is both faster and more accurate. {metric} of {document['num_people']} people of "
        f"{document['data']} {document['split']!r}; baseline: {baseline['name']}, "
        f"{baseline['latency_ms']['p50']:.2f} ms.",
        markup=False,
        soft_wrap=True,
    )
    for each in document["recommendations"]:
        console.print(f"[bold]{escape(each['wish'])}[/bold]: {escape(each['said'])}", soft_wrap=True)
        if each["recipe"]:
            console.print(f"    hgedge build {each['recipe']}", markup=False, soft_wrap=True)
    console.print(f"picture, page, table: {folder}/sweep.png, .html, .csv, .json", markup=False, soft_wrap=True)


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(filter(None, (word.strip() for word in text.split(","))))


def _counts(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else options.integers(text, ",", "--stacks", "numbers with commas between, such as 1,2")


def _sizes(text: str | None) -> tuple[tuple[int, int], ...] | None:
    if text is None:
        return None
    expected = "HEIGHTxWIDTH in pixels with commas between, such as 128x128,192x192"
    found = [options.integers(part, "x", "--input", expected) for part in text.split(",")]
    if any(len(size) != 2 for size in found):
        raise ConfigError(f"--input must be {expected}, but got {text!r}")
    return tuple((size[0], size[1]) for size in found)
