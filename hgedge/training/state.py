"""What a run leaves on the disk: every file whole at any moment, and a state that it goes on from.

A file is written under another name, brought to the disk and renamed. If the disk is full or the process is killed,
the file of the epoch before stays. The state is written last: what it says has happened lies beside it.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hgedge import records
from hgedge.errors import CheckpointError, ConfigError
from hgedge.training.config import TrainingConfig

# paths, and what changes no result
FREE = ("data", "val_data", "output", "start_from", "teacher", "device", "workers", "memory_gb")
SHOWN = 5  # differences in a message


def write_whole(path: Path, data: bytes) -> None:
    """Write or replace a file; it is whole under its name at any moment.

    Raises:
        ConfigError: It cannot be written; what was there before still is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; what was there is kept: make room and run it again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs left half written."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run.

    Raises:
        ConfigError: It cannot be written.
    """
    buffer = io.BytesIO()  # torch's own writer ends the process where a disk is full
    torch.save(dict(state), buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read the state of a run.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError("it is no dictionary")
        return state
    except (OSError, RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read; remove it to start anew ({type(error).__name__})") from error


def described(config: TrainingConfig, **inputs: str) -> dict[str, Any]:
    """What makes a run what it is, flat: dotted names of the config's fields, and digests of what it reads."""
    config_fields = {key: value for key, value in records.to_mapping(config).items() if key not in FREE}
    return {**_flat(config_fields), **inputs}


def check_same_run(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was another one.

    Raises:
        CheckpointError: Something differs.
    """
    different = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if different:
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise CheckpointError(
            f"{path} was made by another run than this config: {'; '.join(different[:SHOWN])}{more}; put it back, "
            "remove the checkpoint, or choose another output"
        )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = {str(index): item for index, item in enumerate(value)}.items()
    else:
        return {name: value}
    return {key: leaf for inner, item in items for key, leaf in _flat(item, f"{name}.{inner}".lstrip(".")).items()}
