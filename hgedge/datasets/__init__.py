"""Labelled people: readers of data sets, keypoint sets, target heatmaps."""

from __future__ import annotations

from pathlib import Path

from hgedge.datasets import lspet
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import SourceError

__all__ = ["Dataset", "Person", "open"]

READERS = (lspet,)


def open(path: str | Path, split: str = "val") -> Dataset:
    """Read a split of the data set in a folder, whose layout is recognised by its files.

    Raises:
        SourceError: The folder does not exist, or no known data set looks like it.
        ConfigError: The data set has no such split.
    """
    root = Path(path)
    if not root.is_dir():
        raise SourceError(f"no such data folder: {root}")
    for reader in READERS:
        if reader.recognises(root):
            return reader.read(root, split)
    looked_for = "; ".join(f"{reader.__name__.split('.')[-1]} ({', '.join(reader.FILES)})" for reader in READERS)
    raise SourceError(f"{root} holds no data set that hgedge knows; looked for: {looked_for}")
