"""Where the ranges of an INT8 engine come from: a table, a recipe, a folder, or the table shipped with the model."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hgedge.datasets
from hgedge import records
from hgedge.builder.network import Network
from hgedge.builder.options import BuildOptions
from hgedge.bundle import file_digest
from hgedge.datasets import Dataset, Person
from hgedge.errors import ConfigError, QuantizationError
from hgedge.progress import Progress
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.ranges import MIN_IMAGES, RangeTable, check, load_table, make_table
from hgedge.spec import InputSpec

log = logging.getLogger(__name__)


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
    """Pictures to run through the network.

    Attributes:
        origin: What error messages call it.
        pictures: Files, taken whole, and people of a data set, each in its own crop.
        method: How ranges are drawn from them.
    """

    origin: Path
    pictures: tuple[Path | Person, ...]
    method: str = "mean-minmax"

    def digest(self) -> str:
        """sha256 over pictures, boxes and method."""
        digest = hashlib.sha256(self.method.encode())
        for picture in self.pictures:
            digest.update(_content(picture))
            digest.update(picture.box_xyxy.tobytes() if isinstance(picture, Person) else b"whole")
        return digest.hexdigest()


def _content(picture: Path | Person) -> bytes:
    """A digest of a file, or of the pixels of a picture that lies in a file with others."""
    if isinstance(picture, Person) and picture.pixels is not None:
        shape = str(picture.pixels.shape).encode()
        return hashlib.sha256(shape + np.ascontiguousarray(picture.pixels).tobytes()).hexdigest().encode()
    file = picture.image if isinstance(picture, Person) else picture
    return file_digest(file).encode() if file.is_file() else b"missing"


@dataclass(frozen=True)
class CalibrationTable:
    """A range table and where it is from, as error messages call it."""

    origin: str
    table: RangeTable

    def digest(self) -> str:
        """sha256 of what it says."""
        return self.table.digest


def find(options: BuildOptions, network: Network) -> CalibrationSet | CalibrationTable | None:
    """Where the ranges of a build come from; None where it needs none.

    Raises:
        QuantizationError: There is no table or picture, or too few pictures.
        ConfigError: A recipe cannot be read or followed.
    """
    source = options.calibration
    if options.precision != "int8":
        return None
    if source is None:
        table = network.own_ranges()
        if table is None:
            raise QuantizationError(
                f"INT8 needs ranges, and none come with {options.model}; "
                "give pictures like those that it will see: --calibration FOLDER"
            )
        return CalibrationTable(f"the range table that comes with {network.name}", table)
    if source.suffix == ".toml":
        return _from_recipe(source, options.data)
    if source.is_dir():
        return _from_folder(source, options.calibration_images)
    if not source.is_file():
        raise QuantizationError(f"no such calibration folder, recipe or table: {source}")
    return CalibrationTable(str(source), load_table(source))


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
        check(source.table, key, source.origin)
        return source.table
    from hgedge.builder.pictures import Pictures

    pictures = Pictures(source, spec, progress)
    ranges = collect_ranges(model, pictures, method=source.method)
    pictures.check_enough()
    return make_table(key, source.method, pictures.used, ranges)


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
    at_least(images, root)
    return CalibrationSet(root, tuple(dataset.people[index] for index in spread(len(dataset), images)), method)


def _from_folder(folder: Path, images: int) -> CalibrationSet:
    """Pictures of a folder, spread over the sorted names; of a data set, people of `train`, or of undivided `all`."""
    if hgedge.datasets.recognised(folder):
        undivided = "train" not in (splits := hgedge.datasets.splits(folder)) and "all" in splits
        return from_dataset(folder, hgedge.datasets.open(folder, "all" if undivided else "train"), images)
    from hgedge.sources.images import picture_files

    files = picture_files(folder)
    at_least(min(len(files), images), folder)
    if len(files) < images:
        log.warning("%s has %d pictures, fewer than %d: taking all", folder, len(files), images)
    picked = [files[index] for index in spread(len(files), min(len(files), images))]
    return CalibrationSet(folder, tuple(picked))


def spread(count: int, chosen: int) -> list[int]:
    """`chosen` indices below `count`, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, chosen).round().astype(int).tolist()


def at_least(count: int, source: Path) -> None:
    """Raise QuantizationError where there are too few pictures."""
    if count < MIN_IMAGES:
        raise QuantizationError(
            f"INT8 needs at least {MIN_IMAGES} calibration pictures, but {source} gives {count}; add pictures"
        )
