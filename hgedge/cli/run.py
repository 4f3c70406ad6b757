"""`hgedge run`."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hgedge import records
from hgedge.cli import options
from hgedge.cli.outputs import Wishes, draw, open_outputs
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.runtime.live import People, Summary
    from hgedge.sources import RawFormat, Source

log = logging.getLogger(__name__)

ENGINES = Path("engines")


def run(
    terminal: Terminal,
    camera: options.Camera = None,
    camera_size: options.CameraSize = None,
    camera_fps: options.CameraFps = None,
    camera_turn: options.CameraTurn = None,
    source: options.SourceName = None,
    raw: options.Raw = None,
    engine: options.Engine = None,
    people: options.People = "whole",
    max_people: options.MaxPeople = None,
    detect_every: options.DetectEvery = None,
    smooth: options.Smooth = None,
    save: options.Save = None,
    jsonl: options.Jsonl = None,
    coco: options.Coco = None,
    window: options.Window = True,
    preview: options.Preview = None,
    preview_token: options.PreviewToken = None,
    recordings: options.Recordings = None,
    limit_frames: options.LimitFrames = None,
) -> None:
    """Estimate poses, live or offline; Ctrl-C ends it cleanly.

    With --people whole each frame is one person, as the engine sees it. All others are found by a detector and then
    followed by their keypoints, under ids that last.
    """
    if (camera is None) == (source is None):
        raise ConfigError("give one of --camera N and --source PATH_OR_URL")
    if jsonl == "-" and terminal.json:
        raise ConfigError("--json and --jsonl - both write to stdout; give --jsonl a file's name")
    from hgedge.runtime.live import people_of

    wishes = Wishes(save, jsonl, coco, window, preview, preview_token, recordings)
    wanted = people_of(people, max_people, detect_every, smooth)
    frames = _open(source, raw, camera, camera_size, camera_fps, camera_turn)
    folder, summary = _run(terminal, frames, engine, wanted, people.partition(":")[2], wishes, limit_frames)
    kept = {name: None if value is None else str(value) for name, value in wishes.kept.items()}
    if terminal.json:
        terminal.result({"bundle": str(folder), **records.to_mapping(summary), **kept}, lambda console: None)
    elif not terminal.quiet:
        show(terminal.stderr, summary, [name for name in kept.values() if name not in (None, "-")])


def _open(
    source: str | None, raw: str | None, camera: str | None, size: str | None, fps: float | None, turn: int | None
) -> Source:
    """Open the camera, or the source, which is read as it is."""
    from hgedge.sources import open_camera, open_source

    if raw is not None and source != "-":
        raise ConfigError("--raw is for frames on standard input: --source - --raw 640x480")
    if source is None:
        return open_camera(camera or "", _frame_wh(size), fps, turn or 0)
    for option, value in (("size", size), ("fps", fps), ("turn", turn)):
        if value is not None:
            raise ConfigError(f"--camera-{option} is for --camera; a --source is read as it is")
    if source == "-" and raw is None:
        raise ConfigError("--source - reads raw frames, whose size must be told: --raw WIDTHxHEIGHT[:PIXELS[:FPS]]")
    return open_source(source, _raw_format(raw))


def _frame_wh(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    expected = "WIDTHxHEIGHT in pixels, such as 1280x720"
    match options.integers(text, "x", "--camera-size", expected):
        case (width, height) if min(width, height) > 0:
            return width, height
    raise ConfigError(f"--camera-size must be {expected}, but got {text!r}")


def _raw_format(text: str | None) -> RawFormat | None:
    from hgedge.sources import RawFormat

    if text is None:
        return None
    expected = "WIDTHxHEIGHT[:PIXELS[:FPS]], such as 640x480:bgr:30"
    size, *rest = text.split(":")
    match options.integers(size, "x", "--raw", expected):
        case (width, height) if len(rest) <= 2:
            pixels, fps = (*rest, "", "")[:2]
            rate = options.fractions(fps, "the frames a second of --raw")[0] if fps else None
            return RawFormat((width, height), pixels or "bgr", rate)
    raise ConfigError(f"--raw must be {expected}, but got {text!r}")


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
    frames: Source,
    engine: Path | None,
    people: People,
    read: str,
    wishes: Wishes,
    limit: int | None,
) -> tuple[Path, Summary]:
    """Open the engine and what the frames go to, and run; the frames are closed."""
    from hgedge.runtime.live import run_source
    from hgedge.runtime.pipeline import load
    from hgedge.sinks import check_targets

    total = limit or frames.info.num_frames or 0
    with contextlib.ExitStack() as stack:
        until_run = stack.enter_context(contextlib.ExitStack())
        until_run.enter_context(frames)
        check_targets({f"--{name}": value for name, value in wishes.kept.items()}, frames.info, read)
        folder = engine or _newest_or_built(terminal)
        pipeline = stack.enter_context(load(folder))
        log.info("engine: %s", folder)
        outputs = stack.enter_context(open_outputs(wishes, terminal, frames.info, folder, pipeline))
        progress = stack.enter_context(terminal.progress())
        until_run.pop_all()  # it is closed by the run, which reads it in a thread
        summary = run_source(
            pipeline,
            frames,
            [*outputs.takers, lambda result: progress("frames", result.frame.index + 1, total)],
            people,
            draw(pipeline, ids=people.detector is not None and frames.info.kind != "images"),
            limit,
            outputs.idle,
            outputs.ended,
        )
    return folder, summary


def show(console: Console, summary: Summary, kept: list[str]) -> None:
    """Print what a run came to, for people."""
    counts = f"frames: {summary.frames}, people: {summary.people}, ids: {summary.ids}, dropped: {summary.dropped}"
    stages = {**summary.latency_ms, "age": summary.age_ms}
    times = ", ".join(
        f"{stage} {value['p50']:.1f} / {value['p95']:.1f} / {value['p99']:.1f}"
        for stage, value in stages.items()
        if value
    )
    console.print(f"{counts}, {summary.fps:.1f} frames a second\nms (p50 / p95 / p99): {times or '-'}", soft_wrap=True)
    for name in kept:
        console.print(f"saved: {name}", soft_wrap=True, markup=False)
