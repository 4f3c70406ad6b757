"""How long work tells whoever waits for it how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of every step."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of a step.

        Args:
            stage: What is being done, in a word or two; a new one begins when it changes.
            done: Steps of this stage that are finished.
            total: Steps of this stage; 0 if nobody knows.
        """
        ...


def no_progress(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
