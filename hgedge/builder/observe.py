"""Run a calibration set through a network once: what it showed is kept beside the bundles made of it.

The file `<output>/.calibration/<model>-<question>.npz` holds the statistics, so that the next build of another backend,
precision or placement, or by another method of histograms, runs no picture again. It is written every few seconds,
whole or not at all; a build that was killed goes on from there, to the same bits. It lies beside the bundles, on a disk
that takes them, and goes when they go: no state elsewhere decides what a build gives. Its name says what was asked for;
whether it answers that still, digests of the network and of the pictures tell. One that does not fit, or is damaged, is
made anew, and the log says why.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.builder.calibration import CalibrationSet
from hgedge.builder.pictures import Pictures
from hgedge.errors import HgedgeError
from hgedge.progress import Progress
from hgedge.quantization.calibrate import Observer
from hgedge.quantization.statistics import Statistics
from hgedge.spec import InputSpec

log = logging.getLogger(__name__)

VERSION = 1  # of what statistics mean, and of the file
SAVE_EVERY_S = 5.0
COUNTS = ("taken", "used", "unreadable", "meaningless")
REASONS = {
    "version": "another version of hgedge kept it",
    "naming": "tensors are named by another rule",
    "network": "the network's weights or input have changed",
    "pictures": "the pictures have changed",
    "tensors": "other tensors are quantised",
}


def observed(chosen: CalibrationSet, key: str, model: Any, spec: InputSpec, progress: Progress) -> Statistics:
    """What the pictures of a set show of a network's tensors.

    Args:
        chosen: The set; what it showed is read from its `kept`, and written there.
        key: `table_key` of the network.
        model: Its FP32 graph (onnx.ModelProto).
        spec: Its input.
        progress: Told about pictures done.

    Raises:
        QuantizationError: Too few pictures can be read, they show nothing, or a tensor is not finite.
    """
    observer = Observer(model, chosen.method)
    statistics, pictures = observer.statistics, Pictures(chosen, spec, progress)
    fits = _fits(chosen, key, statistics) if chosen.kept else {}
    if chosen.kept:
        _restore(chosen.kept, fits, statistics, pictures)
    saved, known = time.monotonic(), pictures.taken
    try:
        for picture in pictures:
            observer.add(picture)
            if chosen.kept and time.monotonic() - saved >= SAVE_EVERY_S:
                _save(chosen.kept, fits, statistics, pictures)
                saved = time.monotonic()
        pictures.check_enough()
    except HgedgeError:
        _discard(chosen.kept)
        raise
    if chosen.kept and pictures.taken > known:
        _save(chosen.kept, fits, statistics, pictures)
    return statistics


def _fits(chosen: CalibrationSet, key: str, statistics: Statistics) -> dict[str, str]:
    """What kept statistics must say of themselves, by the names in `REASONS`."""
    naming = key.partition("-")[0]
    tensors = "\n".join(statistics.names)
    values = (str(VERSION), naming, key, chosen.pictures_digest(), tensors)
    return dict(zip(REASONS, values, strict=True))


def _restore(path: Path, fits: Mapping[str, str], statistics: Statistics, pictures: Pictures) -> None:
    """Go on from what is kept, where it fits."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file)
        head = json.loads(str(arrays.pop("head")))
        reason = next((REASONS[name] for name in REASONS if head["fits"].get(name) != fits[name]), None)
        counts = [int(head["counts"][name]) for name in COUNTS]
        if reason is None:
            statistics.restore(arrays)
    except FileNotFoundError:
        return
    except Exception as error:  # whatever a damaged file makes libraries raise: it is only a copy
        reason = f"it is damaged ({error})"
    if reason is not None:
        log.info("calibrating anew, as what is kept in %s does not fit: %s", path, reason)
        return
    for name, count in zip(COUNTS, counts):
        setattr(pictures, name, count)
    log.info("calibration: %d of %d pictures were run before", pictures.taken, len(pictures.chosen.pictures))


def _save(path: Path, fits: Mapping[str, str], statistics: Statistics, pictures: Pictures) -> None:
    """Keep all that is known so far."""
    head = json.dumps({"fits": fits, "counts": {name: getattr(pictures, name) for name in COUNTS}})
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "wb") as file:
            np.savez_compressed(file, head=np.array(head), **statistics.arrays())  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        log.info("what calibration found is not kept: %s cannot be written (%s)", path, error.strerror)
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _discard(path: Path | None) -> None:
    """Leave nothing of a set that was refused."""
    if path is not None:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # others' are there
            path.parent.rmdir()
