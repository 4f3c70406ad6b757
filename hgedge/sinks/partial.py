"""Files under a temporary name beside their target until they are whole."""

from __future__ import annotations

import os
from pathlib import Path

from hgedge.errors import ConfigError, SourceError


def partial_file(target: Path) -> Path:
    """Make an empty file beside the target, of the same extension, to be renamed once it is whole.

    Raises:
        ConfigError: The target is a folder, or its folder is missing or may not be written to.
    """
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; expected the name of a file")
    path = _partial_name(target)
    try:
        path.touch()
    except OSError as error:
        raise _refusal(target, error) from error
    return path


def partial_folder(target: Path) -> Path:
    """Make an empty folder beside the target.

    Raises:
        ConfigError: The target is a file, or its folder is missing or may not be written to.
    """
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; expected a folder, or a name that is free")
    path = _partial_name(target)
    try:
        path.mkdir()
    except OSError as error:
        raise _refusal(target, error) from error
    return path


def put_in_place(partial: Path, target: Path) -> None:
    """Give a whole file or folder its name, in place of a file that has it.

    Raises:
        SourceError: The system refuses, as when the name became a folder's meanwhile.
    """
    try:
        os.replace(partial, target)
    except OSError as error:
        raise SourceError(f"{target} cannot be written: {error.strerror}") from error


def _partial_name(target: Path) -> Path:
    target = target.absolute()
    return target.with_name(f".{target.stem}.partial-{os.getpid()}{target.suffix}")


def _refusal(target: Path, error: OSError) -> ConfigError:
    folder = target.absolute().parent
    if not folder.is_dir():
        return ConfigError(f"{target} cannot be written: there is no folder {folder}; make it first")
    return ConfigError(f"{target} cannot be written: {error.strerror}")
