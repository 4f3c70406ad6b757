"""Plain data (TOML, JSON) into frozen dataclasses, and back.

Unknown keys, wrong types and missing values are `ConfigError`s that name the place and the nearest known key.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import dacite

from hgedge.errors import ConfigError

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Build a dataclass, nested ones included, from a mapping; lists become tuples.

    Args:
        cls: The dataclass.
        mapping: Its fields.
        where: What error messages call the mapping, such as a file's name.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or is refused by the dataclass.
    """
    try:
        return dacite.from_dict(cls, _tuples(mapping), dacite.Config(strict=True, type_hooks=HOOKS))
    except dacite.UnexpectedDataError as error:
        key = sorted(error.keys)[0]
        raise ConfigError(f"{where}: unknown key {key!r}{_nearest(key, cls)}") from None
    except dacite.MissingValueError as error:
        raise ConfigError(f"{where}: {error.field_path!r} is missing") from None
    except dacite.WrongTypeError as error:
        found = _found(mapping, (error.field_path or "").split("."), error.value)
        raise ConfigError(
            f"{where}: {error.field_path!r} must be {_type_name(error.field_type)}, but is {found!r}"
        ) from None
    except ConfigError as error:  # of a dataclass's own check
        raise ConfigError(f"{where}: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: {error}") from None


def from_toml(cls: type[T], path: Path) -> T:
    """Build a dataclass from a TOML file.

    Raises:
        ConfigError: The file cannot be read, is no TOML or empty, or does not fit the dataclass.
    """
    mapping = read_toml(path)
    if not mapping:
        raise ConfigError(f"{path} is empty{_nearest('', cls)}")
    return from_mapping(cls, mapping, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: The file cannot be read or is no TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error


def to_mapping(record: Any) -> dict[str, Any]:
    """A dataclass, nested ones included, as dictionaries, lists and scalars that JSON can hold."""
    return {key: _plain(value) for key, value in dataclasses.asdict(record).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _found(mapping: Any, keys: list[str], otherwise: Any) -> Any:
    """What stands at a path of keys; `otherwise` below lists, whose items the path does not number."""
    for key in keys:
        if not isinstance(mapping, Mapping) or key not in mapping:
            return otherwise
        mapping = mapping[key]
    return mapping


def _int(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value  # Python takes True for 1; text is refused


def _float(value: Any) -> Any:
    return float(value) if type(value) is int else _int(value)


def _path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


HOOKS: dict[Any, Any] = {int: _int, float: _float, Path: _path}


def _nearest(key: str, cls: Any) -> str:
    known = [field.name for field in dataclasses.fields(cls)]
    for field in dataclasses.fields(cls):  # nested records' keys are candidates too
        if dataclasses.is_dataclass(field.default_factory):
            known += [inner.name for inner in dataclasses.fields(field.default_factory)]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(set(known)))}"


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
