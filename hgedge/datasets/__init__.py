"""Labelled people: readers of data sets, keypoint sets, target heatmaps.

A reader is a module with `FILES` (what a folder of its layout holds, for messages), `recognises(root)`,
`splits(root)` and `read(root, split)`, where the split is one of those. The first that recognises a folder reads it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from hgedge.datasets import coco, drawn, faces, flic, lsp, lspet, mpii, mpii_hrnet, mpii_mat, mpii_val
from hgedge.datasets.person import Dataset, Person
from hgedge.errors import ConfigError, SourceError

__all__ = ["Dataset", "Person", "open", "splits"]

READERS = (lspet, lsp, mpii_val, mpii, mpii_hrnet, mpii_mat, flic, faces, coco, drawn)
DEFAULT_SPLITS = ("val", "test", "all")  # the first of them that a data set has


def open(path: str | Path, split: str | None = None) -> Dataset:
    """Read a split of the data set in a folder, whose layout is recognised by its files.

    Args:
        path: The folder; or `figures` or `figures:N` for N drawn people where there is no such folder.
        split: One of `splits`; None takes `val`, or where there is none `test`, or else `all`.

    Raises:
        SourceError: The folder does not exist, no known data set looks like it, or its files cannot be read.
        ConfigError: The data set has no such split.
    """
    root = Path(path)
    reader = _reader_of(root)
    known = reader.splits(root)
    if split is None:
        split = next((name for name in DEFAULT_SPLITS if name in known), None)
    if split not in known:
        asked = "none of the splits val, test and all" if split is None else f"no split {split!r}"
        raise ConfigError(f"{root} has {asked}; it has: {', '.join(known)}")
    dataset: Dataset = reader.read(root, split)
    if not dataset.people:
        raise SourceError(f"split {split!r} of {root} has nobody with a labelled joint; check that its files are whole")
    return dataset


def splits(path: str | Path) -> tuple[str, ...]:
    """Names of the splits of the data set in a folder.

    Raises:
        SourceError: As `open`.
    """
    root = Path(path)
    return tuple(_reader_of(root).splits(root))


def recognised(path: str | Path) -> bool:
    """Whether a folder holds a data set that a reader knows."""
    return any(reader.recognises(Path(path)) for reader in READERS)


def _reader_of(root: Path) -> ModuleType:
    for reader in READERS:
        if reader.recognises(root):
            return reader
    if not root.is_dir():
        hint = "; it is a file: give the folder of the data set" if root.is_file() else ""
        raise SourceError(f"no such data folder: {root}{hint}")
    looked_for = "; ".join(f"{reader.__name__.split('.')[-1]} ({', '.join(reader.FILES)})" for reader in READERS)
    found = sorted(entry.name for entry in root.iterdir())
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    raise SourceError(
        f"{root} holds no data set that hgedge knows; looked for: {looked_for}; found: {shown or 'nothing'}"
    )
