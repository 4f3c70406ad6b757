"""Where the ranges of an INT8 engine come from: a table, a recipe, a folder, or the table shipped with the model."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hgedge.datasets
from hgedge import records
from hgedge.builder.network import Network
from hgedge.builder.options import ONNX_ONLY, BuildOptions
from hgedge.builder.selection import SELECTIONS, chosen
from hgedge.bundle import file_digest
from hgedge.datasets import Dataset, Person
from hgedge.errors import ConfigError, QuantizationError
from hgedge.models.zoo import DEFAULT
from hgedge.progress import Progress
from hgedge.quantization.methods import DEFAULT_METHOD, method_named, needs_histograms
from hgedge.quantization.ranges import MIN_IMAGES, RangeTable, check, load_table, make_table
from hgedge.spec import InputSpec

log = logging.getLogger(__name__)

KEPT = ".calibration"  # folder beside the bundles
PICTURES = "pictures"  # what a recipe calls a plain folder


@dataclass(frozen=True)
class CalibrationRecipe:
    """A calibration set: so many people of a data set's split, or pictures of a plain folder.

    Attributes:
        dataset: Layout that `--data` must have, such as "lspet"; "pictures" is a plain folder.
        split: Its split; a plain folder has none.
        images: People or pictures to take.
        selection: How they are chosen: one of `hgedge.builder.selection`.
        method: How ranges are drawn from them: one of `hgedge.quantization.methods`.
        seed: Of a selection that draws.
    """

    dataset: str
    split: str = "train"
    images: int = 128
    selection: str = "spread"
    method: str = DEFAULT_METHOD
    seed: int = 0

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ConfigError(f"selection must be one of {', '.join(SELECTIONS)}, but got {self.selection!r}")
        if self.images < 1 or self.seed < 0:
            raise ConfigError(f"images must be positive and seed not negative, but got {self.images} and {self.seed}")
        method_named(self.method)


@dataclass(frozen=True)
class CalibrationSet:
    """Pictures to run through the network.

    Attributes:
        origin: What error messages call it.
        pictures: Files, taken whole, and people of a data set, each in its own crop.
        method: How ranges are drawn from them, by its full name.
        kept: The file that keeps what they showed, for the next build and for one that goes on with this; or None.
    """

    origin: Path
    pictures: tuple[Path | Person, ...]
    method: str = DEFAULT_METHOD
    kept: Path | None = None

    def digest(self) -> str:
        """sha256 over pictures, boxes and method."""
        return self._digest(self.method)

    def pictures_digest(self) -> str:
        """sha256 over pictures and boxes."""
        return self._digest("")

    def _digest(self, start: str) -> str:
        digest = hashlib.sha256(start.encode())
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
    """Where the ranges of a build come from, or the pictures of FP16's range probe; None where it needs none.

    Raises:
        QuantizationError: There is no table or picture, or too few pictures.
        ConfigError: A recipe cannot be read or followed, or a method is asked for that a table cannot have.
    """
    source, method = options.calibration, options.calibration_method
    if options.precision != "int8" and (options.precision != "fp16" or source is None):
        return None
    if source is not None and source.suffix == ".toml":
        recipe = records.from_toml(CalibrationRecipe, source)
        return _kept(_from_recipe(source, recipe, options), options, recipe)
    if source is not None and source.is_dir():
        return _kept(_from_folder(source, options.calibration_images, method or DEFAULT_METHOD), options)
    if method is not None:
        raise ConfigError(
            f"--calibration-method {method} draws ranges from pictures, but {source or 'the table of the model'} holds "
            "ranges already; give --calibration FOLDER, or leave the method out"
        )
    if source is None:
        table = network.own_ranges()
        if table is None:
            raise QuantizationError(
                f"INT8 needs ranges, and none come with {options.model}; "
                "give pictures like those that it will see: --calibration FOLDER"
            )
        return CalibrationTable(f"the range table that comes with {network.name}", table)
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
        QuantizationError: The table is another model's, too few pictures can be read, or they show nothing.
    """
    if isinstance(source, CalibrationTable):
        check(source.table, key, source.origin)
        return source.table
    from hgedge.builder.observe import observed

    statistics = observed(source, key, model, spec, progress)
    return make_table(key, source.method, statistics.count, statistics.ranges(source.method))


def _kept(found: CalibrationSet, options: BuildOptions, recipe: CalibrationRecipe | None = None) -> CalibrationSet:
    """With the place where what its pictures show is kept: a file named after what was asked for, not what it holds.

    So when weights or pictures change, what was kept of the old ones is found, and can be told to be out of date.
    """
    asked = [getattr(options, name) for name in ("model", "num_stacks", "input_hw", "calibration", *ONNX_ONLY)]
    if recipe is None:
        asked += [needs_histograms(found.method), options.calibration_images]
    else:
        asked += [needs_histograms(found.method), options.data, dataclasses.replace(recipe, method=DEFAULT_METHOD)]
    name = f"{Path(options.model or DEFAULT).stem}-{hashlib.sha256(repr(asked).encode()).hexdigest()[:16]}.npz"
    return dataclasses.replace(found, kept=options.output / KEPT / name)


def _from_recipe(path: Path, recipe: CalibrationRecipe, options: BuildOptions) -> CalibrationSet:
    data, method = options.data, method_named(options.calibration_method or recipe.method)
    if data is None:
        raise ConfigError(f"{path} takes pictures of the data set {recipe.dataset!r}; say where it is: --data DIR")
    if recipe.dataset == PICTURES:
        return _from_pictures(data, recipe.images, method, recipe.selection, recipe.seed)
    dataset = hgedge.datasets.open(data, recipe.split)
    if dataset.name != recipe.dataset:
        raise ConfigError(f"{path} takes pictures of {recipe.dataset!r}, but {data} holds {dataset.name!r}")
    return from_dataset(data, dataset, recipe.images, method, recipe.selection, recipe.seed)


def from_dataset(
    root: Path,
    dataset: Dataset,
    images: int,
    method: str = DEFAULT_METHOD,
    selection: str = "spread",
    seed: int = 0,
) -> CalibrationSet:
    """People of a data set, each in its own crop; the rest as of `CalibrationRecipe`."""
    if images > len(dataset):
        raise ConfigError(
            f"{images} calibration pictures asked for, but {root} has {len(dataset)} in {dataset.split!r}; "
            "ask for fewer"
        )
    at_least(images, root)
    picked = chosen(dataset.people, images, selection, seed)
    return CalibrationSet(root, tuple(dataset.people[index] for index in picked), method)


def _from_folder(folder: Path, images: int, method: str) -> CalibrationSet:
    """Pictures of a folder, spread over the sorted names; of a data set, people of `train`, or of undivided `all`."""
    method = method_named(method)
    if hgedge.datasets.recognised(folder):
        undivided = "train" not in (splits := hgedge.datasets.splits(folder)) and "all" in splits
        return from_dataset(folder, hgedge.datasets.open(folder, "all" if undivided else "train"), images, method)
    return _from_pictures(folder, images, method)


def _from_pictures(folder: Path, images: int, method: str, selection: str = "spread", seed: int = 0) -> CalibrationSet:
    from hgedge.sources.images import picture_files

    files = picture_files(folder) if folder.is_dir() else []
    at_least(min(len(files), images), folder)
    if len(files) < images:
        log.warning("%s has %d pictures, fewer than %d: taking all", folder, len(files), images)
    picked = chosen(files, min(len(files), images), selection, seed)
    return CalibrationSet(folder, tuple(files[index] for index in picked), method)


def at_least(count: int, source: Path) -> None:
    """Raise QuantizationError where there are too few pictures."""
    if count < MIN_IMAGES:
        raise QuantizationError(
            f"calibration needs at least {MIN_IMAGES} pictures, but {source} gives {count}; add pictures"
        )
