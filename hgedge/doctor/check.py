"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("ok", "missing", "broken", "absent")


@dataclass(frozen=True)
class Check:
    """What was looked at, and how it is.

    Attributes:
        name: Of the part: a library as users type it, or a word.
        state: "ok"; "missing": it could be here and is not; "broken": it is here and does not work; "absent": it is not
            here and nothing on this machine needs it.
        found: What there is, or why not.
        fix: A command to type or a sentence; None where there is nothing to do.
    """

    name: str
    state: str
    found: str
    fix: str | None = None
