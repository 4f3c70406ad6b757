"""Where the ranges of an INT8 engine come from: a table, a recipe, a folder, or the table shipped with the model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hgedge.datasets
from hgedge import geometry, records
from hgedge.builder.options import BuildOptions
from hgedge.bundle import file_digest
from hgedge.datasets import Dataset
from hgedge.errors import ConfigError, QuantizationError, SourceError
from hgedge.models.zoo import shipped_ranges
from hgedge.progress import Progress
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.ranges import MIN_IMAGES, RangeTable, check, load_table, make_table
from hgedge.runtime.preprocess import crop, normalise
from hgedge.sources.images import picture_files, read_picture
from hgedge.spec import InputSpec

log = logging.getLogger(__name__)

MAX_UNREADABLE = 0.05  # share of a folder's pictures that may fail to decode


@dataclass(frozen=True)
class CalibrationRecipe:
    """A calibration set: `images` people of a data set's split, spread over it.

    Attributes:
        dataset: Layout that `--data` must have, such as "lspet".
        split: Its split.
        images: People to take.
        method: How ranges are drawn from pictures: "mean-minmax" or "minmax".
    """

    dataset: str
    split: str = "train"
    images: int = 128
    method: str = "mean-minmax"


@dataclass(frozen=True)
class CalibrationSet:
    """Pictures to run through the network, each with the box to crop (None: the whole picture).

    Attributes:
        origin: What error messages call it.
        files: The pictures.
        boxes: One a picture.
        method: How ranges are drawn from them.
    """

    origin: Path
    files: tuple[Path, ...]
    boxes: tuple[np.ndarray | None, ...]
    method: str = "mean-minmax"

    def digest(self) -> str:
        """sha256 over pictures, boxes and method."""
        digest = hashlib.sha256(self.method.encode())
        for file, box in zip(self.files, self.boxes):
            digest.update(file_digest(file).encode() if file.is_file() else b"missing")
            digest.update(b"whole" if box is None else box.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class CalibrationTable:
    """A range table and the file that it is from."""

    path: Path
    table: RangeTable

    def digest(self) -> str:
        """sha256 of what it says."""
        return self.table.digest


def find(options: BuildOptions) -> CalibrationSet | CalibrationTable:
    """Where the ranges of a build come from.

    Raises:
        QuantizationError: There is no table or picture, or too few pictures.
        ConfigError: A recipe cannot be read or followed.
    """
    source = options.calibration
    if source is None:
        shipped = shipped_ranges(options.model or "default")
        if shipped is None:
            raise QuantizationError(
                f"INT8 needs ranges, and none are shipped for {options.model}; "
                "give pictures like those that it will see: --calibration FOLDER"
            )
        return CalibrationTable(shipped, load_table(shipped))
    if source.suffix == ".toml":
        return _from_recipe(source, options.data)
    if source.is_dir():
        return _from_folder(source, options.calibration_images)
    if not source.is_file():
        raise QuantizationError(f"no such calibration folder, recipe or table: {source}")
    return CalibrationTable(source, load_table(source))


def ranges_for(
    source: CalibrationSet | CalibrationTable, key: str, model: Any, spec: InputSpec, progress: Progress
) -> RangeTable:
    """The range table of a network.

    Args:
        source: From `find`.
        key: `table_key` of the network.
        model: Its FP32 graph (onnx.ModelProto), to run pictures through.
        spec: Its input.
        progress: Told about pictures done.

    Raises:
        QuantizationError: The table is another model's, or too few pictures can be read.
    """
    if isinstance(source, CalibrationTable):
        check(source.table, key, str(source.path))
        return source.table
    pictures = Pictures(source, spec, progress)
    ranges = collect_ranges(model, pictures, method=source.method)
    pictures.check_enough()
    return make_table(key, source.method, pictures.used, ranges)


class Pictures:
    """The normalised (C, H, W) float32 crops of a calibration set; counts those that could not be read."""

    def __init__(self, chosen: CalibrationSet, spec: InputSpec, progress: Progress) -> None:
        self.chosen, self.spec, self.progress = chosen, spec, progress
        self.used = self.unreadable = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        out = np.empty((*self.spec.hw, self.spec.channels), np.uint8)
        for file, box in zip(self.chosen.files, self.chosen.boxes):
            try:
                picture = read_picture(file)
            except SourceError as error:
                log.warning("calibration skips a picture: %s", error)
                self.unreadable += 1
                continue
            box = geometry.whole_frame_box(picture.shape[:2]) if box is None else box
            crop(picture, geometry.frame_from_input(box, self.spec.hw), out)
            self.used += 1
            self.progress("calibrate", self.used, len(self.chosen.files))
            yield normalise(out[None], self.spec)[0]

    def check_enough(self) -> None:
        """Raise QuantizationError where too few pictures could be read."""
        if self.unreadable > MAX_UNREADABLE * len(self.chosen.files):
            raise QuantizationError(
                f"{self.unreadable} of {len(self.chosen.files)} calibration pictures of {self.chosen.origin} "
                "cannot be read; remove or replace them"
            )
        _at_least(self.used, self.chosen.origin)


def _from_recipe(path: Path, data: Path | None) -> CalibrationSet:
    recipe = records.from_toml(CalibrationRecipe, path)
    if data is None:
        raise ConfigError(f"{path} takes pictures of the data set {recipe.dataset!r}; say where it is: --data DIR")
    dataset = hgedge.datasets.open(data, recipe.split)
    if dataset.name != recipe.dataset:
        raise ConfigError(f"{path} takes pictures of {recipe.dataset!r}, but {data} holds {dataset.name!r}")
    return from_dataset(data, dataset, recipe.images, recipe.method)


def from_dataset(root: Path, dataset: Dataset, images: int, method: str = "mean-minmax") -> CalibrationSet:
    """People of a data set, spread over it, each in its own crop."""
    if images > len(dataset):
        raise ConfigError(
            f"{images} calibration pictures asked for, but {root} has {len(dataset)} in {dataset.split!r}; "
            "ask for fewer"
        )
    _at_least(images, root)
    people = [dataset.people[index] for index in spread(len(dataset), images)]
    return CalibrationSet(root, tuple(p.image for p in people), tuple(p.box_xyxy for p in people), method)


def _from_folder(folder: Path, images: int) -> CalibrationSet:
    """Pictures of a folder, spread over the sorted names; of a data set, people of its training split."""
    if any(reader.recognises(folder) for reader in hgedge.datasets.READERS):
        return from_dataset(folder, hgedge.datasets.open(folder, "train"), images)
    files = picture_files(folder)
    _at_least(min(len(files), images), folder)
    if len(files) < images:
        log.warning("%s has %d pictures, fewer than %d: taking all", folder, len(files), images)
    picked = [files[index] for index in spread(len(files), min(len(files), images))]
    return CalibrationSet(folder, tuple(picked), (None,) * len(picked))


def spread(count: int, chosen: int) -> list[int]:
    """`chosen` indices below `count`, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, chosen).round().astype(int).tolist()


def _at_least(count: int, source: Path) -> None:
    if count < MIN_IMAGES:
        raise QuantizationError(
            f"INT8 needs at least {MIN_IMAGES} calibration pictures, but {source} gives {count}; add pictures"
        )
