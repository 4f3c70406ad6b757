"""`hgedge run`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hgedge import records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.runtime.live import PictureSink, Summary
    from hgedge.runtime.pipeline import Pipeline
    from hgedge.sinks.window import WindowSink
    from hgedge.sources import Source

log = logging.getLogger(__name__)

ENGINES = Path("engines")


def run(
    terminal: Terminal,
    camera: options.Camera = None,
    camera_size: options.CameraSize = None,
    camera_fps: options.CameraFps = None,
    camera_turn: options.CameraTurn = None,
    source: options.SourceName = None,
    engine: options.Engine = None,
    people: options.People = "whole",
    save: options.Save = None,
    jsonl: options.Jsonl = None,
    window: options.Window = True,
    limit_frames: options.LimitFrames = None,
) -> None:
    """Estimate poses, live or offline; Ctrl-C ends it cleanly."""
    if (camera is None) == (source is None):
        raise ConfigError("give one of --camera N and --source PATH_OR_URL")
    if people != "whole":
        raise ConfigError(f"--people must be whole, but got {people!r}")
    if jsonl == "-" and terminal.json:
        raise ConfigError("--json and --jsonl - both write to stdout; give --jsonl a file's name")
    from hgedge.runtime.pipeline import load

    with _open(source, camera, camera_size, camera_fps, camera_turn) as frames:
        folder = engine or _newest_or_built(terminal)
        with load(folder) as pipeline:
            log.info("engine: %s", folder)
            summary = _run(terminal, pipeline, frames, save, jsonl, window, limit_frames)
    kept = {"save": save if save is None else str(save), "jsonl": jsonl}
    document = {"bundle": str(folder), **records.to_mapping(summary), **kept}
    if terminal.json:
        terminal.result(document, lambda console: None)
    elif not terminal.quiet:
        show(terminal.stderr, summary, [name for name in kept.values() if name not in (None, "-")])


def _open(source: str | None, camera: str | None, size: str | None, fps: float | None, turn: int | None) -> Source:
    """Open the camera, or the source, which is read as it is."""
    from hgedge.sources import open_camera, open_source

    if source is None:
        return open_camera(camera or "", _frame_wh(size), fps, turn or 0)
    for option, value in (("size", size), ("fps", fps), ("turn", turn)):
        if value is not None:
            raise ConfigError(f"--camera-{option} is for --camera; a --source is read as it is")
    return open_source(source)


def _frame_wh(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    expected = "WIDTHxHEIGHT in pixels, such as 1280x720"
    match options.integers(text, "x", "--camera-size", expected):
        case (width, height) if min(width, height) > 0:
            return width, height
    raise ConfigError(f"--camera-size must be {expected}, but got {text!r}")


def _newest_or_built(terminal: Terminal) -> Path:
    """The newest bundle that fits this machine, or else the default model's, built now."""
    from hgedge.runtime.pipeline import newest

    found = newest(ENGINES)
    if found is not None:
        return found
    from hgedge.builder import BuildOptions, build

    log.info("no bundle in %s fits this machine; building the default model first", ENGINES)
    with terminal.progress() as progress:
        return build(BuildOptions(output=ENGINES), progress).bundle


def _run(
    terminal: Terminal,
    pipeline: Pipeline,
    frames: Source,
    save: Path | None,
    jsonl: str | None,
    window: bool,
    limit: int | None,
) -> Summary:
    """Open what the frames go to, and run."""
    from hgedge.runtime.live import run_source
    from hgedge.sinks import open_jsonl, open_sink
    from hgedge.visualization.draw import draw_poses

    with contextlib.ExitStack() as stack:
        if jsonl == "-":
            stack.enter_context(terminal.results())
        screen = stack.enter_context(_screen()) if window and frames.info.kind != "images" else None
        pictures: list[PictureSink] = [screen] if screen is not None else []
        if save is not None:
            sink = open_sink(save, frames.info)
            pictures.append(sink)
            stack.enter_context(sink)
        lines = [stack.enter_context(open_jsonl(jsonl, frames.info, save))] if jsonl is not None else []
        progress = stack.enter_context(terminal.progress())
        if not (lines or pictures or terminal.json):
            log.warning("nothing is kept of this run; --save FILE keeps pictures, --jsonl FILE keeps poses")
        total = limit or frames.info.num_frames or 0
        return run_source(
            pipeline,
            frames,
            lines,
            pictures,
            lambda image, poses: draw_poses(image, poses, pipeline.keypoints),
            limit,
            lambda frame, poses: progress("frames", frame.index + 1, total),
            lambda: screen is not None and screen.closed,
        )


@contextlib.contextmanager
def _screen() -> Iterator[WindowSink | None]:
    """A window, where there is a screen."""
    from hgedge.sinks.window import WindowSink, has_display

    if not has_display():
        yield None
        return
    with WindowSink("hgedge") as window:
        yield window


def show(console: Console, summary: Summary, kept: list[str]) -> None:
    """Print what a run came to, for people."""
    counts = f"frames: {summary.frames}, people: {summary.people}, {summary.fps:.1f} frames a second"
    stages = ", ".join(
        f"{stage} {value['p50']:.1f} / {value['p95']:.1f}" for stage, value in summary.latency_ms.items()
    )
    console.print(f"{counts}\nms (p50 / p95): {stages or '-'}", soft_wrap=True)
    for name in kept:
        console.print(f"saved: {name}", soft_wrap=True, markup=False)
