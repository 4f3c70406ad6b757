"""`hgedge build`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge import bundle, records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

PEOPLE = {"confirm": "on whom nothing was chosen", "all": "all of them"}

if TYPE_CHECKING:
    from hgedge.builder import BuildOptions, BuildReport
    from hgedge.spec import BudgetInfo


def build(
    terminal: Terminal,
    model: options.Model = None,
    precision: options.Precision = None,
    backend: options.Backend = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = None,
    calibration_method: options.CalibrationMethod = None,
    data: options.CalibrationData = None,
    max_drop: options.MaxDrop = None,
    placement: options.Placement = None,
    float_groups: options.FloatGroups = None,
    num_stacks: options.NumStacks = None,
    input_size: options.InputSize = None,
    refinement: options.Refinement = None,
    keypoints: options.Keypoints = None,
    mean: options.Mean = None,
    std: options.Std = None,
    color: options.Color = None,
    heatmaps: options.Heatmaps = None,
    batch: options.Batch = None,
    engine: options.WithEngine = None,
    output: options.BundleFolder = None,
    force: options.Force = None,
    workspace_mib: options.WorkspaceMib = None,
    version_compatible: options.VersionCompatible = None,
    hardware_compatible: options.HardwareCompatible = None,
    dla: options.Dla = None,
    gpu_fallback: options.GpuFallback = None,
    gpu_capability: options.GpuCapability = None,
) -> None:
    """Build an engine: a model becomes one bundle."""
    given: dict[str, Any] = locals()
    run_build(terminal, {name: value for name, value in given.items() if name != "terminal" and value is not None})


def run_build(terminal: Terminal, asked: dict[str, Any]) -> None:
    """Build, from the options that were given; prints the report, or what a search tried in vain."""
    from hgedge.budget.candidate import BudgetExceeded
    from hgedge.builder import build as build_bundle

    chosen = options_from(asked)
    try:
        with terminal.progress() as progress:
            report = build_bundle(chosen, progress)
    except BudgetExceeded as verdict:
        document = {"bundle": None, "precision": chosen.precision, **verdict.outcome}
        terminal.result(document, lambda console: show_tried(console, document["tried"]))
        raise
    terminal.result(records.to_mapping(report), lambda console: show(console, report))


def options_from(asked: dict[str, Any]) -> BuildOptions:
    """The options of a build, from those of the command line that were given."""
    from hgedge.builder import options_of

    read = {name: READERS[name](value) if name in READERS else value for name, value in asked.items()}
    if "input_size" in read:  # the others are called as their fields
        read["input_hw"] = read.pop("input_size")
    return options_of(read)


def _size(text: str) -> tuple[int, int]:
    expected = "HEIGHTxWIDTH in pixels, such as 256x192"
    numbers = options.integers(text, "x", "--input", expected)
    if len(numbers) != 2:
        raise ConfigError(f"--input must be {expected}, but got {text!r}")
    return numbers[0], numbers[1]


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


READERS: dict[str, Callable[[str], Any]] = {
    "input_size": _size,
    "batch": lambda text: options.integers(text, ",", "--batch", "sizes with commas between, such as 1,2,4"),
    "float_groups": _names,
    "gpu_capability": _names,
    "mean": lambda text: options.fractions(text, "--mean"),
    "std": lambda text: options.fractions(text, "--std"),
}  # of what is given as text


def told_drop(budget: BudgetInfo, name: str, lost: float) -> str:
    """A drop with its interval, who it was measured on, and what was allowed."""
    interval = budget.intervals[name]
    allowed = f", {budget.max_drop:g} allowed" if name == budget.metric else ""
    people = f"{budget.people} people of {budget.data} {budget.split!r}, {PEOPLE[budget.half]}"
    return f"{lost:.2f} points ({interval['low']:.2f} to {interval['high']:.2f}{allowed}; {people})"


def show_tried(console: Console, tried: Sequence[Mapping[str, Any]]) -> None:
    """Print what a search measured, a row each."""
    if not tried:
        return
    metrics = tuple(tried[0]["drop"])
    headings = ("engine", "left float", "ms", *(f"{metric}, points lost" for metric in metrics), "people", "fits")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "ms" or "points" in heading else "left")
    for row in tried:
        lost = [points(row["drop"][metric]) for metric in metrics]
        kept, engine = (
            escape(", ".join(row["float_groups"])),
            " ".join(filter(None, (row["precision"], row["placement"]))),
        )
        table.add_row(engine, kept, f"{row['ms']:.2f}", *lost, row["half"], "yes" if row["fits"] else "no")
    console.print(table, "")


def points(found: Mapping[str, float]) -> str:
    """Points lost, and their interval."""
    return f"{found['points']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def show(console: Console, report: BuildReport) -> None:
    """Print a build's report as a table, then the command to type next."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("model", bundle.read_manifest(report.bundle).model.name)
    table.add_row("precision", report.precision)
    table.add_row("backend", report.backend)
    table.add_row("convolutions in INT8", f"{report.num_convs_int8} of {report.num_convs}")
    if report.agreement is not None:
        pixels = f"{report.agreement['mean_px']:.2f} px mean, {report.agreement['p99_px']:.2f} px p99"
        table.add_row("keypoints from FP32's", f"{pixels} (agreement with FP32, not accuracy)")
    if report.simulated_agreement is not None:
        found = report.simulated_agreement
        pixels = f"{found['mean_px']:.2f} px mean, {found['p99_px']:.2f} px p99"
        table.add_row("in FP16 arithmetic", f"{pixels} (simulated, every tensor rounded)")
    if report.kept_fp32:
        table.add_row("kept in FP32", f"{len(report.kept_fp32)} layers: {escape(', '.join(report.kept_fp32))}")
    if report.budget is not None:
        for name, lost in (report.drop or {}).items():
            table.add_row(f"{name} lost", told_drop(report.budget, name, lost))
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in report.seconds.items())
    table.add_row("seconds", "0, it was built before" if report.reused else steps)
    show_tried(console, report.tried or ())
    console.print(table)
    console.print(f"bundle: {report.bundle}", soft_wrap=True, markup=False)
    if report.backend != "none" and report.agreement is None:
        console.print("not measured, as this machine cannot run it", soft_wrap=True)
        return
    following = "build" if report.backend == "none" else "run --source video.mp4 --engine"
    console.print(f"next:   hgedge {following} {shlex.quote(str(report.bundle))}", soft_wrap=True, markup=False)
