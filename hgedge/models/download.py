"""One attempt to fetch a file over HTTP, behind what an earlier attempt left of it."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import BinaryIO

import hgedge
from hgedge.errors import CheckpointError

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
SHOWN = 60  # characters in a message
TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)  # and all from 500 on
NETWORK_ERRORS = (OSError, http.client.HTTPException)

Tell = Callable[[int, int], None]  # of bytes that are there, and bytes that there will be; 0 if nobody knows


class Interrupted(Exception):
    """The file did not arrive whole; another attempt may do better."""


def append(url: str, file: BinaryIO, timeout_s: float, limit: int, tell: Tell) -> bool:
    """Add what a server sends to a file; emptied first if the server cannot carry on where it ends.

    Args:
        url: Http or https.
        file: Open for appending.
        timeout_s: How long to wait for the next bytes.
        limit: More bytes than this cannot be the file.
        tell: Told about bytes done.

    Returns:
        Whether the file now is all that the server sent, from the first byte on.

    Raises:
        Interrupted: It ended too early.
        CheckpointError: The server does not have the file, or sends too much.
        OSError: The disk refuses.
    """
    have = file.seek(0, 2)
    with _request(url, have, timeout_s) as response:
        if have and response.status != HTTPStatus.PARTIAL_CONTENT:
            log.info("the server cannot carry on after %d bytes; starting anew", have)
            have = file.truncate(0)
        elif have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            file.truncate(0)
            raise Interrupted(f"the server does not carry on after {have} bytes, as it says")
        done, total = have, 0 if response.length is None else have + response.length
        for chunk in _chunks(response):
            done += len(chunk)
            if done > limit:
                file.truncate(0)
                raise CheckpointError(f"{url} gives more than {limit} bytes, too many for this network")
            file.write(chunk)
            tell(done, total)
    if done < total:
        raise Interrupted(f"the connection ended after {done} of {total} bytes")
    return have == 0


def _request(url: str, have: int, timeout_s: float) -> http.client.HTTPResponse:
    """The server's answer to a request of all but the bytes that are there."""
    headers = {"User-Agent": f"hgedge/{hgedge.__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _request(url, 0, timeout_s)  # it has fewer bytes than that: another file
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in TRY_AGAIN or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Interrupted(answer) from error
        raise CheckpointError(f"{answer} for {url}") from error
    except NETWORK_ERRORS as error:
        raise Interrupted(_reason(error)) from error


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What the server sends, as it comes."""
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except NETWORK_ERRORS as error:
            raise Interrupted(_reason(error)) from error
        if not chunk:
            return
        yield chunk


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server sends nothing"
    if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, ConnectionError):
        return f"the server does not speak HTTP, but says {str(cause)[:SHOWN]!r}"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
