"""The loop of `hgedge run`: frames in, poses out to whoever takes them, until the source or the user ends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from hgedge.pose import Frame, Pose
from hgedge.runtime.live.estimate import Estimate, People, estimates
from hgedge.runtime.live.signals import stop_signals
from hgedge.runtime.live.summary import Summary, Tally
from hgedge.runtime.live.worker import Worker
from hgedge.runtime.pipeline import Pipeline
from hgedge.runtime.pixels import bgr_from
from hgedge.sources import Source, read_ahead

log = logging.getLogger(__name__)

AHEAD = 2  # results of a file that may wait for their output; of a live source one, which is then not old
IDLE_S = 0.03

Draw = Callable[[np.ndarray, list[Pose]], np.ndarray]


@dataclass(eq=False)
class Result:
    """A frame and what was found in it, as outputs take it.

    Attributes:
        frame: The frame.
        poses: People in it.
        latency_ms: Stage -> milliseconds.
        age_ms: From the frame's capture to its output.
        dropped: Frames that the source has thrown away so far.
        state: What the source says of itself: "live", "stalled" or "retrying".
        draw: Draws poses into a copy of a BGR picture.
    """

    frame: Frame
    poses: list[Pose]
    latency_ms: dict[str, float]
    age_ms: float
    dropped: int
    state: str
    draw: Draw | None = None
    _picture: np.ndarray | None = field(default=None, repr=False)

    def picture(self) -> np.ndarray:
        """The frame with its poses drawn, (H, W, 3) uint8, BGR; made when it is first asked for, the same for all."""
        if self._picture is None:
            picture = bgr_from(self.frame.image, self.frame.pixels)
            self._picture = picture if self.draw is None else self.draw(picture, self.poses)
        return self._picture


Output = Callable[[Result], None]


def run_source(
    pipeline: Pipeline,
    source: Source,
    outputs: Sequence[Output] = (),
    people: People | None = None,
    draw: Draw | None = None,
    limit: int | None = None,
    idle: Callable[[str], None] = lambda state: None,
    ended: Callable[[], bool] = lambda: False,
) -> Summary:
    """Estimate poses in every frame of a file, or in the newest of a live source, and hand them on in order.

    Ctrl-C or SIGTERM ends the run after the result at hand, as a reader of an output that went away does; whatever the
    outputs write to is then closed in the ordinary way by whoever opened it. A second Ctrl-C is a KeyboardInterrupt.

    Args:
        pipeline: Frame to poses; used by another thread until this returns.
        source: Frames; open, and closed by this.
        outputs: Take every result, one after the other, in the calling thread.
        people: Who is looked for; by default the whole frame is one.
        draw: Draws poses into a copy of a frame, for `Result.picture`.
        limit: Stop after this many frames.
        idle: Called with the source's state, many times a second, while there is no result.
        ended: Asked after each result and when idle whether to stop, such as for a window that was closed.

    Raises:
        HgedgeError: The source, the pipeline or an output failed; results before it were handed on.
    """
    tally, ahead = Tally(), 1 if source.info.live else AHEAD
    with read_ahead(source) as frames:
        results = _limited(estimates(pipeline, frames, people or People()), limit)
        with stop_signals() as stopped, Worker(results, ahead, frames.stop) as worker:
            for estimate in worker.taken(IDLE_S):
                if estimate is None:
                    idle(frames.state)
                elif not _hand_on(estimate, frames, outputs, draw, tally):
                    break
                if stopped() or ended():
                    break
        return tally.summary(frames.dropped)


def _limited(items: Generator[Estimate, None, None], limit: int | None) -> Generator[Estimate, None, None]:
    """The first items, or all; closing it closes them."""
    try:
        yield from islice(items, limit)
    finally:
        items.close()


def _hand_on(estimate: Estimate, source: Source, outputs: Sequence[Output], draw: Draw | None, tally: Tally) -> bool:
    """Give a result to every output and count it; whether somebody still takes them."""
    started_s, captured_s = time.perf_counter(), estimate.frame.captured_s
    age_ms = 1e3 * (time.monotonic() - captured_s)
    result = Result(estimate.frame, estimate.poses, estimate.latency_ms, age_ms, source.dropped, source.state, draw)
    try:
        for output in outputs:
            output(result)
    except BrokenPipeError:
        log.info("the reader of the poses went away")
        return False
    finally:
        tally.add(estimate.poses, estimate.latency_ms, age_ms, 1e3 * (time.perf_counter() - started_s))
    return True
