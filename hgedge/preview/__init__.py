"""A page for boxes without a screen: the live picture, its figures, a button that records.

Tornado serves it. It is one wheel of half a megabyte that needs nothing else, made for aarch64 and every Python from
3.9 on (aiohttp brings nine more, five of them compiled for each Python; uvicorn with Starlette six more), old, kept
up, under our own licence; its loop starts and stops in a thread without touching signals, and `flush` tells when a
client has taken a picture, which is all that one needs to give each client the newest. The official prometheus_client
(also a single wheel) writes the metrics.

    publish -> Ledger (figures)  ->  /status.json /history.json /metrics
            -> Painter (a thread: newest frame, drawn once) -> Recorder (a video)
                                                            -> Feed (newest JPEG) -> /stream /snapshot.jpg
"""

from __future__ import annotations

from hgedge.errors import BackendUnavailable

try:
    import prometheus_client  # noqa: F401
    import tornado  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(
        f"the preview needs a server, but it is not here ({error}); install it with: pip install 'hgedge[preview]'"
    ) from error

from hgedge.preview.guard import new_token
from hgedge.preview.server import Preview

__all__ = ["Preview", "new_token"]
