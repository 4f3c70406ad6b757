"""`hgedge build`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hgedge import bundle, records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.builder import BuildReport


def build(
    terminal: Terminal,
    model: options.Model = None,
    precision: options.Precision = None,
    backend: options.Backend = None,
    calibration: options.Calibration = None,
    calibration_images: options.CalibrationImages = None,
    data: options.CalibrationData = None,
    placement: options.Placement = None,
    num_stacks: options.NumStacks = None,
    input_size: options.InputSize = None,
    keypoints: options.Keypoints = None,
    mean: options.Mean = None,
    std: options.Std = None,
    color: options.Color = None,
    heatmaps: options.Heatmaps = None,
    batch: options.Batch = None,
    engine: options.WithEngine = None,
    output: options.BundleFolder = None,
    force: options.Force = None,
) -> None:
    """Build an engine: a model becomes one bundle."""
    given: dict[str, Any] = locals()
    asked = {name: value for name, value in given.items() if name != "terminal" and value is not None}
    from hgedge.builder import build as build_bundle
    from hgedge.builder import options_of

    for name, read in READERS.items():
        if name in asked:
            asked[name] = read(asked[name])
    if "input_size" in asked:  # the others are called as their fields
        asked["input_hw"] = asked.pop("input_size")
    with terminal.progress() as progress:
        report = build_bundle(options_of(asked), progress)
    terminal.result(records.to_mapping(report), lambda console: show(console, report))


def _size(text: str) -> tuple[int, int]:
    expected = "HEIGHTxWIDTH in pixels, such as 256x192"
    numbers = options.integers(text, "x", "--input", expected)
    if len(numbers) != 2:
        raise ConfigError(f"--input must be {expected}, but got {text!r}")
    return numbers[0], numbers[1]


READERS: dict[str, Callable[[str], Any]] = {
    "input_size": _size,
    "batch": lambda text: options.integers(text, ",", "--batch", "sizes with commas between, such as 1,2,4"),
    "mean": lambda text: options.fractions(text, "--mean"),
    "std": lambda text: options.fractions(text, "--std"),
}  # of what is given as text


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
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in report.seconds.items())
    table.add_row("seconds", "0, it was built before" if report.reused else steps)
    console.print(table)
    console.print(f"bundle: {report.bundle}", soft_wrap=True, markup=False)
    if report.backend != "none" and report.agreement is None:
        console.print("not measured, as this machine cannot run it", soft_wrap=True)
        return
    following = "build" if report.backend == "none" else "run --source video.mp4 --engine"
    console.print(f"next:   hgedge {following} {shlex.quote(str(report.bundle))}", soft_wrap=True, markup=False)
