"""Write a bundle: under a temporary name, then renamed into place, so that one that exists is whole."""

from __future__ import annotations

import errno
import fcntl
import glob
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hgedge.bundle import open_bundle, read_manifest, seal
from hgedge.errors import ConfigError, EngineMismatch, HgedgeError
from hgedge.spec import Manifest

PARTIAL = ".partial"  # a bundle in the making is the hidden folder .NAME.xxxxxxxx.partial beside it
STALE_S = 3600.0  # unlocked for so long, it is a killed build's; locks may not reach other machines on the same disk
ROOM_BYTES = 16 << 20  # with less than this free, a build that a library gave up is said to want space
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # what a rename onto a name that is in use gives


@contextmanager
def staged(target: Path, force: bool) -> Iterator[Path]:
    """A temporary folder beside a bundle-to-be that becomes it when the block ends without an error.

    Args:
        target: The bundle's folder.
        force: Replace a bundle that already has this name.

    Raises:
        ConfigError: The name is taken by another bundle, or the parent cannot be written.
    """
    new = [parent for parent in target.parents if not parent.exists()]
    try:
        with _partial_folder(target) as staging:
            with _full_disk_told(staging):
                yield staging
            _sync(staging)
            _put(staging, target, force)
            _sweep(target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it is not empty, as it should be
            for parent in new:
                parent.rmdir()


def resealed(folder: Path, manifest: Manifest, changed: dict[str, Callable[[Path], None]]) -> Manifest:
    """Replace files of a bundle, and its manifest, in one step; returns what was written.

    Args:
        folder: A whole bundle; may be a link to one.
        manifest: What to write instead of its own; the hashes are made anew.
        changed: Name of file -> writes it to a path.

    Raises:
        ConfigError: The folder beside the bundle cannot be written.
    """
    folder = folder.resolve()
    with staged(folder, force=True) as copy:
        for name in manifest.files.keys() - changed.keys():
            _link(folder / name, copy / name)
        for name, write in changed.items():
            write(copy / name)
        return seal(copy, manifest)


@contextmanager
def _partial_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside a bundle, removed at the end; locked, and the kernel lifts that when this process dies.

    It is named before it is made, so that an interrupt right then leaves nothing either.
    """
    folder = target.parent / f".{target.name}.{secrets.token_hex(4)}{PARTIAL}"
    with ExitStack() as stack:
        stack.callback(_remove, folder)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            lock = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise ConfigError(f"cannot write to {target.parent}: {error.strerror}; choose another --output") from error
        stack.callback(os.close, lock)
        with suppress(OSError):  # a file system without locks: no folder can be swept there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder


def _link(path: Path, to: Path) -> None:
    """The same file under another name, or a copy where the disk has no hard links."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


def _remove(folder: Path) -> None:
    """Remove a folder, to its end even when interrupted."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    """Let the system say that the disk is full where a library does not (OpenVINO: "iostream error").

    What it removed is room again, and nobody knows how large an engine would have become: too little is judged by what
    is written so far.
    """
    try:
        yield
    except HgedgeError:
        raise
    except Exception as error:
        written = sum(path.stat().st_size for path in folder.iterdir())
        if shutil.disk_usage(folder).free < max(ROOM_BYTES, 2 * written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _put(staging: Path, target: Path, force: bool) -> None:
    """Rename a whole bundle to its place; one that another build has just made from the same things is kept.

    Raises:
        ConfigError: Another bundle has taken the name meanwhile.
        OSError: It cannot be renamed.
    """
    try:
        os.rename(staging, target)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        if force:
            _replace(staging, target)
        elif not _is_same(staging, target):
            raise ConfigError(f"{target} has been made by someone else meanwhile; use --force to replace it") from error


def _replace(staging: Path, target: Path) -> None:
    """Put a bundle in the place of another: two renames, as no portable call swaps two folders.

    Killed between the two, it leaves both whole in hidden folders; an error or an interrupt puts the old one back.
    """
    with _partial_folder(target) as aside:
        try:
            for attempt in itertools.count():  # another forced build may be as quick
                with suppress(FileNotFoundError):
                    os.rename(target, aside / str(attempt))
                try:
                    os.rename(staging, target)
                    return
                except OSError as error:
                    if error.errno not in TAKEN:
                        raise
        finally:
            if not target.exists():
                for old in sorted(aside.iterdir())[:1]:
                    os.rename(old, target)


def _is_same(staging: Path, target: Path) -> bool:
    """Whether a bundle that is in the way is whole and was built from the same things."""
    try:
        return open_bundle(target).digest == read_manifest(staging).digest
    except EngineMismatch:
        return False


def _sweep(target: Path) -> None:
    """Remove what killed builds of a bundle left: old hidden folders that no living process holds locked."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.????????{PARTIAL}"):
        with suppress(OSError):
            if time.time() - folder.lstat().st_mtime < STALE_S:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _sync(folder: Path) -> None:
    """Have every file on the disk before the rename says that the bundle is whole."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
