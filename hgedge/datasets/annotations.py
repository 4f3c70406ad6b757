"""Annotation files (JSON, MATLAB 5, HDF5) as plain Python and NumPy; what cannot be read is a `SourceError`."""

from __future__ import annotations

import gzip
import json
import mmap
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import BackendUnavailable, SourceError


def read_json(path: Path) -> Any:
    """What a JSON file holds, gzipped if its name ends in `.gz`.

    Raises:
        SourceError: The file cannot be read, is cut off or is no JSON.
    """
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except OSError as error:  # gzip.BadGzipFile is one
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        raise SourceError(f"{path} is cut off or damaged: expected JSON, but {error}; get a whole copy") from error


def begins_with(path: Path, first: bytes, words: Sequence[bytes]) -> bool:
    """Whether a file's first visible byte is `first` and all words are in it; files may be too large to be parsed."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == first and all(data.find(word) >= 0 for word in words)
    except (OSError, ValueError):  # not there, or empty
        return False


def read_mat(path: Path, *names: str, objects: bool = False) -> tuple[Any, ...]:
    """Variables of a MATLAB 5 file.

    Args:
        path: The file.
        names: Variables to return, in order.
        objects: Structures as objects with attributes, arrays of one element as that element.

    Raises:
        SourceError: The file is not MATLAB 5, is damaged, or has no such variable.
        BackendUnavailable: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise _missing("SciPy", path, error) from error
    try:
        variables = loadmat(path, variable_names=names, struct_as_record=not objects, squeeze_me=objects)
        return tuple(variables[name] for name in names)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except KeyError as error:
        raise SourceError(f"{path} is a MATLAB 5 file without {error}; expected {', '.join(names)}") from error
    except Exception as error:  # SciPy's reader lets through whatever damaged bytes lead to
        raise SourceError(f"{path} is not a MATLAB 5 file with {', '.join(names)}: {error}") from error


def read_hdf5(path: Path, *names: str) -> tuple[np.ndarray, ...]:
    """Data sets of an HDF5 file.

    Raises:
        SourceError: The file is not HDF5, is damaged, or has no such data set.
        BackendUnavailable: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py", path, error) from error
    try:
        with h5py.File(path, "r") as file:
            return tuple(np.asarray(file[name][()]) for name in names)
    except KeyError as error:
        raise SourceError(f"{path} lacks one of {', '.join(names)}: {error}") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise SourceError(f"{path} is not an HDF5 file, or is cut off: {error}") from error


def numbers(values: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Values as float64 of a shape, in which -1 stands for any length.

    Args:
        values: Nested lists or an array.
        shape: What is expected.
        where: What the error calls the values.

    Raises:
        SourceError: They are not numbers, or have another shape.
    """
    expected = " x ".join("N" if length < 0 else str(length) for length in shape)
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"they are of type {array.dtype}")
    except ValueError as error:
        raise SourceError(f"{where} must be {expected} numbers, but cannot be read as such: {error}") from error
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape)):
        raise SourceError(f"{where} must be {expected} numbers, but is {' x '.join(map(str, array.shape)) or 'one'}")
    return array.astype(np.float64)


def fields(record: Any, names: Iterable[str], where: str) -> list[Any]:
    """Values of a JSON object.

    Raises:
        SourceError: It is no object, or lacks a name.
    """
    if not isinstance(record, dict):
        raise SourceError(f"{where} must be an object with {', '.join(names)}, but is {type(record).__name__}")
    missing = [name for name in names if name not in record]
    if missing:
        raise SourceError(f"{where} lacks {', '.join(missing)}")
    return [record[name] for name in names]


def _missing(library: str, path: Path, error: ImportError) -> BackendUnavailable:
    return BackendUnavailable(f"{path} needs {library} ({error}); install it with: pip install 'hgedge[bench]'")
