"""The backend that `auto` chooses here and the reason it gives; choosing may import libraries."""

from __future__ import annotations

import logging
from typing import Any

from hgedge import backends


def facts() -> dict[str, Any]:
    """The name that is chosen, and what was logged meanwhile."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("hgedge")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    return {"backend": backends.choose("auto"), "reason": "; ".join(said)}
