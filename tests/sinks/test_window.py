"""Whether there is a screen; windows themselves need one."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("cv2")


from hgedge.sinks.window import has_display

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for an X or Wayland screen")


@needs_linux
@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, False), ({"DISPLAY": ""}, False), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w"}, True)],
)
def test_the_environment_tells_of_a_screen(monkeypatch: pytest.MonkeyPatch, variables, expected: bool) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_display() is expected
