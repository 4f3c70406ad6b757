"""Time that passes as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest


class FakeClock:
    """Tells seconds; `spending(milliseconds)` gives something to time, whose calls cost one after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def spending(self, milliseconds: Iterator[float], name: str = "") -> Callable[[], None]:
        def run() -> None:
            self.now += next(milliseconds) / 1e3
            self.calls.append(name)

        return run


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()
