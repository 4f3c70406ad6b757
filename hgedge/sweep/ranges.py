"""Where the INT8 ranges of every input size come from.

Ranges of one size are not those of another: the same person is larger, and borders weigh more. Those of the whole
network serve any part of its stacks, as its tensors keep their names, so each size is calibrated once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import hgedge.datasets
from hgedge.builder import BuildOptions, calibration
from hgedge.builder.calibration import CalibrationSet, CalibrationTable
from hgedge.builder.network import Network
from hgedge.errors import QuantizationError
from hgedge.quantization.methods import DEFAULT_METHOD, method_named
from hgedge.quantization.ranges import RangeTable, table_key
from hgedge.sweep.grid import size_text
from hgedge.sweep.model import Model


@dataclass(frozen=True)
class Ranges:
    """Of one input size.

    Attributes:
        source: Pictures to draw them from, or a table.
        own: They come with the model, so that a build needs not be told of them.
        said: Where they are from, for the reader.
        key: Tells them from others of the network.
    """

    source: CalibrationSet | CalibrationTable
    own: bool
    said: str
    key: str


def _ranges(hw: tuple[int, int], source: CalibrationSet | CalibrationTable, own: bool, said: str) -> Ranges:
    return Ranges(source, own, said, f"{size_text(hw)} {source.digest()[:16]}")


def ranges_of(model: Model, hw: tuple[int, int], data: Path, scored: str) -> Ranges:
    """Where the ranges of an input size come from: what was asked for, else the model's own, else `data`.

    Args:
        model: What is swept.
        hw: Height and width of its input.
        data: The data set of the sweep, whose train split is taken where nothing else is there.
        scored: The split that candidates are scored on.

    Raises:
        QuantizationError: There are none, or those given are of another network or size.
    """
    network, options = model.network_at(hw), model.options
    if options.calibration is None:
        table = network.own_ranges()
        if table is not None and options.calibration_method is None and _fits(table, network):
            return _ranges(hw, CalibrationTable(f"the ranges of {network.name}", table), True, "come with the model")
        return _ranges(hw, *_from_data(options, data, scored))
    source = calibration.find(dataclasses.replace(options, precision="int8", data=data), network)
    if isinstance(source, CalibrationSet):
        return _ranges(hw, dataclasses.replace(source, kept=None), False, str(options.calibration))  # the notes keep it
    if source is None or not _fits(source.table, network):
        raise QuantizationError(
            f"{options.calibration} holds ranges of another network or input size than {size_text(hw)} of "
            f"{network.name}; give pictures or a recipe, which serve every size, or the one size it is of: --input HxW"
        )
    return _ranges(hw, source, False, str(options.calibration))


def _from_data(options: BuildOptions, data: Path, scored: str) -> tuple[CalibrationSet, bool, str]:
    """People of the data set's train split, or of `all` where it is not divided."""
    splits = hgedge.datasets.splits(data)
    split = next((name for name in ("train", "all") if name in splits), None)
    if split is None:
        raise QuantizationError(
            f"INT8 needs pictures to draw ranges from, but {data} has no train split ({', '.join(splits)}); "
            "give some: --calibration DIR, or leave INT8 out: --precision fp32"
        )
    dataset = hgedge.datasets.open(data, split)
    method = method_named(options.calibration_method or DEFAULT_METHOD)
    source = calibration.from_dataset(data, dataset, min(options.calibration_images, len(dataset)), method)
    same = ", the very people who are scored" if split == scored else ""
    return source, False, f"{len(source.pictures)} people of {dataset.name} {split!r}{same}"


def _fits(table: RangeTable, network: Network) -> bool:
    return table.key == table_key(network.sha256, network.input, table.naming_version)
