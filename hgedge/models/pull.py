"""Fetch the weights of a named network from where they are published into the user's cache.

The name of their file ends in the first eight hex digits of its sha256, and only a file whose sha256 begins so gets
that name. Until then it is called `<name>.partial`, which the next attempt carries on with, today or another day. The
digits guard against accidents; that the server is who it says, HTTPS guards.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from hgedge.bundle import file_digest
from hgedge.cache import cache_folder
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models import download
from hgedge.models.zoo import FACTS, PULLED, RELEASE_LICENCE, RELEASE_URL, RELEASED, zoo_names
from hgedge.progress import Progress, no_progress

log = logging.getLogger(__name__)

MIB = 1 << 20
MAX_BYTES_A_PARAMETER = 16  # its value, and what an optimiser keeps of it
ATTEMPTS = 5  # in a row that may end with less than a MiB more than ever before
ELSEWHERE = "or give another place with --from URL"


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a server's next bytes, and before the second attempt (then twice as long each time)."""

    timeout_s: float = 30.0
    backoff_s: float = 1.0


@dataclass(frozen=True)
class _Wanted:
    """A file, and where it is and will be."""

    name: str
    url: str
    target: Path

    @property
    def partial(self) -> Path:
        """What there is of it so far."""
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def digits(self) -> str:
        """What the sha256 begins with."""
        return self.target.stem.rpartition("-")[2]

    def is_whole(self, path: Path) -> bool:
        """Whether a file is what the name promises."""
        return path.is_file() and file_digest(path).startswith(self.digits)


def pull(
    name: str, base_url: str = RELEASE_URL, progress: Progress = no_progress, patience: Patience | None = None
) -> Path:
    """Fetch the weights of a named network, unless they are there already.

    Args:
        name: A name of the zoo.
        base_url: The folder that holds their file, http or https.
        progress: Told about MiB done.
        patience: How long to wait.

    Returns:
        Their file, whole and checked.

    Raises:
        ConfigError: No such network is published, or the URL is none.
        CheckpointError: The server cannot be reached, has no such file or another one, or the disk refuses.
    """
    if name not in RELEASED:
        why = "it comes with hgedge" if name in zoo_names() else f"known: {', '.join(RELEASED)}"
        raise ConfigError(f"{name!r} cannot be pulled; {why}")
    target = cache_folder(PULLED) / RELEASED[name]
    wanted = _Wanted(name, _url(base_url, target.name), target)
    with _disk(target):
        if not wanted.is_whole(target):
            log.info("%s: %s", name, RELEASE_LICENCE)
            target.parent.mkdir(parents=True, exist_ok=True)
            _pull(wanted, progress, patience or Patience())
    return target


def _url(base_url: str, file: str) -> str:
    try:
        parts = urlsplit(base_url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not re.fullmatch("[!-~]+", base_url):
        raise ConfigError(f"--from must be the http or https address of a folder, but got {base_url!r}")
    return f"{base_url.rstrip('/')}/{file}"


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written: {error.strerror or error}; make room, or set XDG_CACHE_HOME to a folder "
            "that can be written to"
        ) from error


def _pull(wanted: _Wanted, progress: Progress, patience: Patience) -> None:
    """Fill the partial file, and give it its name."""
    with open(wanted.partial, "ab") as file:
        _lock(file, wanted)
        try:
            if not wanted.is_whole(wanted.target):  # another program may just have finished it
                _fill(wanted, file, progress, patience)
                os.fsync(file.fileno())
                os.replace(wanted.partial, wanted.target)
        finally:
            if not _size(file):
                wanted.partial.unlink(missing_ok=True)


def _lock(file: BinaryIO, wanted: _Wanted) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(f"another program is pulling {wanted.name} right now; wait for it") from None
    except OSError:
        log.debug("%s lies on a file system without locks", wanted.partial)


def _fill(wanted: _Wanted, file: BinaryIO, progress: Progress, patience: Patience) -> None:
    """Add to the partial file until it is whole.

    Raises:
        CheckpointError: It will not become so.
    """
    failures, most = 0, _size(file)
    while (reason := _attempt(wanted, file, progress, patience.timeout_s)) is not None:
        failures = 1 if _size(file) - most >= MIB else failures + 1
        most = max(most, _size(file))
        if failures == ATTEMPTS:
            raise CheckpointError(
                f"{wanted.name} cannot be pulled from {wanted.url}: {reason}, {ATTEMPTS} times; see that the network "
                f"is up and run the same again, which carries on after {_size(file)} bytes, {ELSEWHERE}"
            )
        delay_s = patience.backoff_s * 2 ** (failures - 1)
        log.warning("%s; trying again in %g s", reason, delay_s)
        time.sleep(delay_s)


def _attempt(wanted: _Wanted, file: BinaryIO, progress: Progress, timeout_s: float) -> str | None:
    """Fetch what is missing; returns why another attempt is needed, None if the file is whole."""

    def tell(done: int, total: int) -> None:
        progress(f"pull {wanted.name}, MiB", done // MIB, total // MIB)

    if wanted.is_whole(wanted.partial):
        return None
    try:
        limit = MAX_BYTES_A_PARAMETER * FACTS[wanted.name].parameters
        complete = download.append(wanted.url, file, timeout_s, limit, tell)
    except download.Interrupted as interrupt:
        file.flush()
        return None if wanted.is_whole(wanted.partial) else str(interrupt)  # servers lie about lengths
    except CheckpointError as error:
        raise CheckpointError(f"{wanted.name} cannot be pulled: {error}; try again later, {ELSEWHERE}") from error
    file.flush()
    if wanted.is_whole(wanted.partial):
        return None
    found, size = file_digest(wanted.partial)[:8], _size(file)
    file.truncate(0)
    if complete:
        raise CheckpointError(
            f"{wanted.url} gives another file: {size} bytes whose sha256 begins with {found}, not with {wanted.digits} "
            f"as its name says; nothing of it is kept. Try again without a proxy in between, {ELSEWHERE}"
        )
    return "what was carried on with has become another file"


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
