"""What `hgedge run` does with its results: files, lines, a window, the preview."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.pose import Pose
    from hgedge.preview import Preview
    from hgedge.runtime.live import Output, Result
    from hgedge.runtime.live.loop import Draw
    from hgedge.runtime.pipeline import Pipeline
    from hgedge.sinks.window import WindowSink
    from hgedge.sources import SourceInfo

log = logging.getLogger(__name__)

PREVIEW = "127.0.0.1:8080"
ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\s\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
RECORDINGS = Path("recordings")
ABOUT = ("model", "precision", "backend", "device", "input", "agreement", "accuracy", "drop")


@dataclass(frozen=True)
class Wishes:
    """What is wanted of a run.

    Attributes:
        save: File or folder for pictures with poses drawn.
        jsonl: File for a line a frame, "-" for stdout.
        coco: File for COCO results.
        window: Whether to show frames where there is a screen.
        preview: HOST:PORT to serve a page at, "" for the default, None for none.
        token: What viewers of the page must bring.
        recordings: Folder for what is recorded from the page.
    """

    save: Path | None = None
    jsonl: str | None = None
    coco: Path | None = None
    window: bool = True
    preview: str | None = None
    token: str | None = None
    recordings: Path | None = None

    def __post_init__(self) -> None:
        for name, value in (("token", self.token), ("recordings", self.recordings)):
            if value is not None and self.preview is None:
                option = "--preview-token" if name == "token" else "--recordings"
                raise ConfigError(f"{option} is for --preview")

    @property
    def kept(self) -> dict[str, str | Path | None]:
        """What is written, by the name of its option."""
        return {"save": self.save, "jsonl": self.jsonl, "coco": self.coco}


class Screen:
    """The window, with the last result under how the run goes."""

    def __init__(self, window: WindowSink) -> None:
        self.window = window
        self._last: Result | None = None
        self._state = "live"

    def take(self, result: Result) -> None:
        """Show a result."""
        from hgedge.visualization.overlay import draw_status

        self._last, self._state = result, result.state
        shown = result.picture().copy()
        draw_status(shown, result.latency_ms, result.age_ms, result.dropped, result.state)
        self.window.write(shown)

    def idle(self, state: str) -> None:
        """Let the window live on; say so where the source does not."""
        if self._last is not None and state != self._state:
            self._last.state = state
            self.take(self._last)
        self.window.listen()


@dataclass(eq=False)
class Outputs:
    """What takes results, open.

    Attributes:
        takers: Take every result, in this order.
        screen: The window, where there is one.
        page: The preview, where it is wanted.
    """

    takers: list[Output]
    screen: Screen | None = None
    page: Preview | None = None

    def idle(self, state: str) -> None:
        """Go on without a result, of a source in this state."""
        if self.screen is not None:
            self.screen.idle(state)
        if self.page is not None:
            self.page.tell(state)

    def ended(self) -> bool:
        """Whether the window was closed."""
        return self.screen is not None and self.screen.window.closed


@contextlib.contextmanager
def open_outputs(
    wishes: Wishes, terminal: Terminal, info: SourceInfo, bundle: Path, pipeline: Pipeline
) -> Iterator[Outputs]:
    """Open everything; what replaces a file at once comes last, so that no other's mistake costs that file."""
    from hgedge.sinks import CocoSink, JsonlSink, open_sink

    with contextlib.ExitStack() as stack:
        pictures = None if wishes.save is None else open_sink(wishes.save, info)
        stack.enter_context(pictures or contextlib.nullcontext())
        coco = None if wishes.coco is None else stack.enter_context(CocoSink(wishes.coco, keep=info.live))
        page = None if wishes.preview is None else stack.enter_context(_preview(wishes, bundle, pipeline))
        screen = stack.enter_context(_screen()) if wishes.window and info.kind != "images" else None
        outputs = Outputs([], screen, page)
        if wishes.jsonl is not None:
            with terminal.results():  # sys.stdout is that of results while the sink looks for it
                lines = stack.enter_context(JsonlSink(wishes.jsonl))
            outputs.takers.append(
                lambda result: lines.write(result.frame, result.poses, result.latency_ms, result.age_ms)
            )
        if coco is not None:
            outputs.takers.append(lambda result: coco.write(result.frame, result.poses))
        if page is not None:
            outputs.takers.append(lambda result: _publish(page, result))
        if screen is not None:
            outputs.takers.append(screen.take)
        if pictures is not None:
            outputs.takers.append(lambda result: pictures.write(result.picture(), result.frame.name))
        if not (outputs.takers or terminal.json):
            log.warning("nothing is kept of this run; --save FILE keeps pictures, --jsonl FILE keeps poses")
        yield outputs


def draw(pipeline: Pipeline, ids: bool) -> Draw:
    """What draws poses into a copy of a picture, with ids if people have them."""
    from hgedge.visualization.draw import draw_poses
    from hgedge.visualization.overlay import draw_ids

    def drawn(image: np.ndarray, poses: list[Pose]) -> np.ndarray:
        picture = draw_poses(image, poses, pipeline.keypoints)
        if ids:
            draw_ids(picture, poses)
        return picture

    return drawn


@contextlib.contextmanager
def _screen() -> Iterator[Screen | None]:
    """A window, where there is a screen."""
    from hgedge.sinks.window import WindowSink, has_display

    if not has_display():
        yield None
        return
    with WindowSink("hgedge") as window:
        yield Screen(window)


@contextlib.contextmanager
def _preview(wishes: Wishes, bundle: Path, pipeline: Pipeline) -> Iterator[Preview]:
    """The preview, whose address is told."""
    from hgedge import records
    from hgedge.preview import Preview

    host, port = _address(wishes.preview or PREVIEW)
    manifest = {} if pipeline.manifest is None else records.to_mapping(pipeline.manifest)
    about = {"bundle": str(bundle), **{name: manifest.get(name) for name in ABOUT}}
    with Preview(host, port, wishes.token, wishes.recordings or RECORDINGS, about) as page:
        log.info("preview: %s", page.url)
        yield page


def _address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, [IPV6]:PORT, HOST or :PORT."""
    found = ADDRESS.fullmatch(text)
    if found is None:
        raise ConfigError(f"--preview must be HOST:PORT, such as {PREVIEW}, but got {text!r}")
    host, port = (found["ipv6"] or found["host"]), found["port"]
    default_host, _, default_port = PREVIEW.partition(":")
    return host or default_host, int(port or default_port)


def _publish(page: Preview, result: Result) -> None:
    page.publish(
        result.frame, result.picture, result.poses, result.latency_ms, result.age_ms, result.dropped, result.state
    )
