"""What `hgedge run` does with results, without the program around it."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("cv2")

from hgedge.cli.outputs import Outputs, Screen, _address
from hgedge.errors import ConfigError
from hgedge.pose import Frame
from hgedge.runtime.live import Result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("box.local", ("box.local", 8080)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::]", ("::", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_addresses_of_the_preview(text: str, expected: tuple[str, int]) -> None:
    assert _address(text) == expected


@pytest.mark.parametrize("text", ["::1", "a:b", "host:", "host:123456", "http://host:80", "a b:1", "[x]:1"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--preview must be HOST:PORT, such as 127\.0\.0\.1:8080, but got"):
        _address(text)


class Glass:
    """A window that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.heard, self.closed = 0, False

    def write(self, image: np.ndarray, name: str = "") -> None:
        self.shown.append(image)

    def listen(self) -> None:
        self.heard += 1


def result(state: str = "live") -> Result:
    frame = Frame(np.full((240, 320, 3), 128, np.uint8), 0, 0.0, time.monotonic(), 1.0)
    return Result(frame, [], {"infer": 5.0, "total": 7.0}, 12.0, 3, state)


def test_the_window_has_the_status_and_other_outputs_have_not() -> None:
    glass, shown = Glass(), result()
    Screen(glass).take(shown)
    assert (glass.shown[0] != 128).any() and (shown.picture() == 128).all() and (shown.frame.image == 128).all()


def test_a_window_lives_on_while_nothing_comes_and_says_what_the_source_is_at() -> None:
    glass = Glass()
    outputs = Outputs([], Screen(glass))
    outputs.idle("stalled")
    outputs.screen.take(result())
    for state in ("live", "live", "stalled", "stalled", "retrying"):
        outputs.idle(state)
    assert glass.heard == 6 and len(glass.shown) == 3
    assert (glass.shown[0] != glass.shown[1]).any() and (glass.shown[1] != glass.shown[2]).any()
    assert not outputs.ended()
    glass.closed = True
    assert outputs.ended()
