"""Where hgedge keeps what it can get or make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder hgedge/KIND in `$XDG_CACHE_HOME`, or in ~/.cache where that is not set; a relative one does not count.

    Source: the XDG Base Directory Specification.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "hgedge" / kind
