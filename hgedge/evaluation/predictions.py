"""Predicted keypoints in files: our own, and those that others publish.

    .npz    `keypoints` or `preds` (P, K, 2); ours has `scores`, `labels`, `labelled`, `names`, `people`, `indices` too
    .h5     `preds` (P, K, 2), as the stacked hourglass' authors publish them
    .mat    `preds` (P, K, 2), or `pos_pred_src` (K, 2, P), as MPII's authors publish them
    .json   a list of people, each a list of K points [x, y] or [x, y, score], or an object with such "keypoints"
    .jsonl  the same, a person a line

People stand in the order of the split.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import ConfigError, HgedgeError, SourceError
from hgedge.evaluation.labels import Labels

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Predictions:
    """What was predicted for the people who are scored.

    Attributes:
        keypoints: (P, K, 2) float64 picture pixels; NaN where there is no prediction.
        scores: (P,) float64, how sure of each person; 1 where nobody tells.
    """

    keypoints: np.ndarray
    scores: np.ndarray


def save_predictions(path: Path, predictions: Predictions, labels: Labels) -> None:
    """Write predictions and the labels that they were scored on, for `read_predictions` and for NumPy."""
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            keypoints=predictions.keypoints.astype(np.float32),
            scores=predictions.scores.astype(np.float32),
            labels=labels.keypoints,
            labelled=labels.labelled,
            names=np.array(labels.keypoint_set.names),
            people=labels.names,
            indices=labels.indices,
        )


def read_predictions(path: Path, labels: Labels) -> Predictions:
    """Read the predictions of the people who are scored.

    Raises:
        SourceError: The file cannot be read, or holds no predictions.
        ConfigError: It holds other people or other keypoints.
    """
    arrays = _read(path)
    keypoints = arrays["keypoints"]
    if keypoints.ndim != 3 or keypoints.shape[2] != 2:
        shape = " x ".join(map(str, keypoints.shape))
        raise SourceError(f"predictions in {path} must be people x keypoints x 2, but are {shape}")
    _check_keypoints(path, arrays, labels)
    rows = _rows(path, arrays, labels)
    if "labels" in arrays and not np.array_equal(
        arrays["labels"][rows][labels.labelled], labels.keypoints[labels.labelled]
    ):
        raise ConfigError(f"{path} was made on other people or other labels than those of {labels.data}")
    scores = arrays["scores"] if "scores" in arrays else np.ones(len(keypoints))
    return Predictions(keypoints[rows].astype(np.float64), scores[rows].astype(np.float64))


def _check_keypoints(path: Path, arrays: Arrays, labels: Labels) -> None:
    expected, found = labels.keypoint_set, arrays["keypoints"].shape[1]
    if found != len(expected):
        raise ConfigError(
            f"{path} holds {found} keypoints a person, but {labels.data} is labelled with the {len(expected)} of "
            f"{expected.name!r}; give predictions of its own keypoints"
        )
    names = tuple(arrays["names"].tolist()) if "names" in arrays else expected.names
    if names != expected.names:
        other = next((a, b) for a, b in zip(names, expected.names) if a != b)
        raise ConfigError(
            f"{path} holds other keypoints than {expected.name!r}, which {labels.data} is labelled with: "
            f"{other[0]!r} where {other[1]!r} belongs"
        )


def _rows(path: Path, arrays: Arrays, labels: Labels) -> np.ndarray:
    """Where the people who are scored stand in the file."""
    count = len(arrays["keypoints"])
    if "indices" not in arrays:
        if count != labels.total:
            raise ConfigError(
                f"{path} holds predictions of {count} people, but {labels.data} has {labels.total}; "
                "give predictions of all of them, in its order"
            )
        return labels.indices
    places = {int(index): row for row, index in enumerate(arrays["indices"])}
    missing = [index for index in labels.indices.tolist() if index not in places]
    if missing:
        raise ConfigError(
            f"{path} holds predictions of {count} people, and lacks {len(missing)} of the {len(labels)} of "
            f"{labels.data} that are scored; give the --limit that it was made with"
        )
    return np.array([places[index] for index in labels.indices.tolist()])


def _read(path: Path) -> Arrays:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path} must be a file of predictions: {', '.join(READERS)}")
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    try:
        return reader(path)
    except HgedgeError:
        raise
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read as predictions: {error}") from error


def _read_npz(path: Path) -> Arrays:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {"keypoints": _one_of(path, arrays, "keypoints", "preds"), **arrays}


def _read_h5(path: Path) -> Arrays:
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: np.asarray(file[name]) for name in file if isinstance(file[name], h5py.Dataset)}
    return {"keypoints": _one_of(path, arrays, "preds")}


def _read_mat(path: Path) -> Arrays:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays = loadmat(path)
    except MatReadError as error:
        raise ValueError(str(error)) from error
    keypoints = _one_of(path, arrays, "pos_pred_src", "preds")
    turned = "pos_pred_src" in arrays and keypoints.ndim == 3
    return {"keypoints": keypoints.transpose(2, 0, 1) if turned else keypoints}


def _read_json(path: Path) -> Arrays:
    return _from_lists(json.loads(path.read_text(encoding="utf-8")))


def _read_jsonl(path: Path) -> Arrays:
    return _from_lists([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])


def _from_lists(people: Any) -> Arrays:
    points = np.array([person["keypoints"] if isinstance(person, dict) else person for person in people], np.float64)
    if points.ndim == 3 and points.shape[2] == 3:
        return {"keypoints": points[..., :2], "scores": points[..., 2].mean(axis=1)}
    return {"keypoints": points}


def _one_of(path: Path, arrays: dict[str, Any], *names: str) -> np.ndarray:
    for name in names:
        if name in arrays:
            return np.asarray(arrays[name], dtype=np.float64)
    found = ", ".join(name for name in arrays if not name.startswith("__")) or "nothing"
    raise SourceError(f"{path} must hold {' or '.join(map(repr, names))}, but holds: {found}")


READERS: dict[str, Callable[[Path], Arrays]] = {
    ".npz": _read_npz,
    ".h5": _read_h5,
    ".mat": _read_mat,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
}
