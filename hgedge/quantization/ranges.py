"""Tables of activation ranges: what calibration found, for which network, from how many pictures."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hgedge
from hgedge import records
from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.methods import METHODS, method_named
from hgedge.spec import InputSpec

MIN_IMAGES = 32  # fewer pictures do not show what a network meets
FORMAT_VERSION = 1
NAMING_VERSION_KEY = "naming_version"  # in a graph's metadata
RECALIBRATE = "calibrate again with pictures: --calibration FOLDER"

Range = tuple[float, float]  # low, high


@dataclass(frozen=True)
class RangeTable:
    """Ranges of one network's activations.

    A graph with fewer stacks, or of another placement, uses the part of the table that it needs.

    Attributes:
        key: `table_key` of the network.
        method: How ranges were drawn from pictures, by its full name.
        images: Pictures they were drawn from.
        naming_version: Rule by which tensors are named.
        hgedge_version: What made the table.
        ranges: Name of tensor -> (low, high); rounded to float32.
    """

    key: str
    method: str
    images: int
    naming_version: int
    hgedge_version: str
    ranges: dict[str, Range]
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise QuantizationError(
                f"range table has format {self.format_version}, not {FORMAT_VERSION}; {RECALIBRATE}"
            )
        if not _is_method(self.method):
            raise QuantizationError(f"range table names the method {self.method!r}, not one of {', '.join(METHODS)}")
        for name in ("images", "naming_version"):
            if getattr(self, name) < 0:
                raise QuantizationError(f"range table has {name} {getattr(self, name)}, below 0; {RECALIBRATE}")
        object.__setattr__(self, "ranges", {name: _checked(name, self.ranges[name]) for name in sorted(self.ranges)})

    @property
    def digest(self) -> str:
        """sha256 over all that decides a quantised graph; which version of hgedge wrote the table does not."""
        content = {name: value for name, value in records.to_mapping(self).items() if name != "hgedge_version"}
        return _digest(content)

    def to_json(self) -> str:
        """The table as JSON, a line a tensor, each number the shortest that reads back as the same float32."""
        mapping = records.to_mapping(self)
        ranges = mapping.pop("ranges")
        head = json.dumps(mapping, indent=2).removesuffix("\n}")
        lines = [
            f"    {json.dumps(name)}: [{_shortest(low)}, {_shortest(high)}]" for name, (low, high) in ranges.items()
        ]
        return head + ',\n  "ranges": {\n' + ",\n".join(lines) + "\n  }\n}\n"


def save_table(table: RangeTable, path: Path) -> None:
    """Write a table whole or not at all.

    Raises:
        ConfigError: The file cannot be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(table.to_json())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"cannot write the range table {path}: {error.strerror}; choose another place") from error


def table_key(weights_sha256: str, spec: InputSpec, naming_version: int) -> str:
    """What ties a table to a network: `names<version>-<sha256 of weights, input and naming>`.

    Args:
        weights_sha256: Digest of the whole network's configuration and weights, before stacks are dropped.
        spec: The network's input; another size or normalisation has other ranges.
        naming_version: By which rule the graph's tensors are named.
    """
    content = {"weights": weights_sha256, "input": records.to_mapping(spec), "naming_version": naming_version}
    return f"names{naming_version}-{_digest(content)}"


def naming_version(model: Any) -> int:
    """The version of the rule by which an exported graph's tensors are named.

    Args:
        model: The graph (onnx.ModelProto), as `hgedge export` writes it.

    Raises:
        QuantizationError: It does not say.
    """
    noted = {item.key: item.value for item in model.metadata_props}.get(NAMING_VERSION_KEY, "")
    if not noted.isdecimal():
        raise QuantizationError(
            f"the graph does not say by which rule its tensors are named ({NAMING_VERSION_KEY} is {noted!r}): "
            "ranges cannot be matched to it; make it with: hgedge export"
        )
    return int(noted)


def make_table(key: str, method: str, images: int, ranges: Mapping[str, Range]) -> RangeTable:
    """A table of ranges that were collected just now.

    Args:
        key: `table_key` of the network.
        method: How ranges were drawn from pictures.
        images: Pictures they were drawn from.
        ranges: Name of tensor -> (low, high).

    Raises:
        QuantizationError: A range is not finite or turned round, or the key is not one that `table_key` gives.
    """
    return RangeTable(key, method, images, _version_in(key), hgedge.__version__, dict(ranges))


def load_table(path: Path) -> RangeTable:
    """Read a table that `save_table` wrote.

    Raises:
        QuantizationError: The file cannot be read, or its first wrong thing.
    """
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise QuantizationError(f"cannot read the range table {path}: {error.strerror}; {RECALIBRATE}") from error
    except (ValueError, RecursionError) as error:
        raise QuantizationError(f"{path} is no range table in JSON ({error}); {RECALIBRATE}") from error
    if not isinstance(mapping, dict) or not isinstance(mapping.get("ranges"), dict):
        raise QuantizationError(f"{path} is no range table: it has no 'ranges'; {RECALIBRATE}")
    try:
        for name, value in mapping["ranges"].items():
            _checked(name, value)
        return records.from_mapping(RangeTable, mapping, "range table")
    except (ConfigError, QuantizationError) as error:
        raise QuantizationError(f"{path}: {error}; {RECALIBRATE}".replace(f"{RECALIBRATE}; ", "")) from error


def check(table: RangeTable, key: str, where: str = "the range table") -> None:
    """Refuse a table that was not made for this network, or from too little.

    Args:
        table: What was loaded.
        key: `table_key` of the network at hand.
        where: What error messages call the table.

    Raises:
        QuantizationError: Another naming rule, another network, or fewer than `MIN_IMAGES` pictures.
    """
    if table.naming_version != _version_in(key):
        raise QuantizationError(
            f"{where} names tensors by rule {table.naming_version}, but this hgedge by rule {_version_in(key)}; "
            + RECALIBRATE
        )
    if table.key != key:
        raise QuantizationError(
            f"{where} was made for another network or input (key {table.key[:20]}, here {key[:20]}); {RECALIBRATE}"
        )
    if table.images < MIN_IMAGES:
        raise QuantizationError(
            f"{where} comes from {table.images} pictures, but INT8 needs at least {MIN_IMAGES}; calibrate with more"
        )


def needed(ranges: Mapping[str, Range], names: Iterable[str]) -> dict[str, Range]:
    """The ranges of these tensors.

    Raises:
        QuantizationError: One is missing, not finite, or turned round.
    """
    wanted = tuple(names)
    missing = [name for name in wanted if name not in ranges]
    if missing:
        raise QuantizationError(
            f"{len(missing)} of the {len(wanted)} tensors to quantise have no range, first {missing[0]!r}: the ranges "
            f"were collected on another graph; {RECALIBRATE}"
        )
    return {name: _checked(name, ranges[name]) for name in wanted}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dictionary; of a name that comes twice nobody knows which value is meant."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in mapping if names.count(name) > 1)
        raise ValueError(f"it names {twice!r} twice")
    return mapping


def _checked(name: str, value: Any) -> Range:
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 2 or not all(
        isinstance(number, (int, float)) and type(number) is not bool for number in numbers
    ):
        raise QuantizationError(f"range of {name!r} must be two numbers, low and high, but is {value!r}; {RECALIBRATE}")
    limit = float(np.finfo(np.float32).max)
    if not all(-limit <= number <= limit for number in numbers):
        raise QuantizationError(f"range of {name!r} must be finite in float32, but is {list(value)}; {RECALIBRATE}")
    low, high = (float(np.float32(number)) for number in numbers)
    if low > high:
        raise QuantizationError(f"range of {name!r} has low {low} above high {high}; {RECALIBRATE}")
    return low, high


def _is_method(name: str) -> bool:
    try:
        return method_named(name) == name
    except ConfigError:
        return False


def _version_in(key: str) -> int:
    version = key.removeprefix("names").split("-")[0]
    if not key.startswith("names") or not version.isdecimal():
        raise QuantizationError(f"a range table's key must come from table_key, but is {key!r}; {RECALIBRATE}")
    return int(version)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _shortest(value: float) -> str:
    return json.dumps(float(str(np.float32(value))))
