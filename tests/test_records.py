"""Plain data into dataclasses and back, and what is said when it does not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hgedge import records
from hgedge.errors import ConfigError


@dataclass(frozen=True)
class Wheel:
    spokes: int = 32
    rim: str = "steel"


@dataclass(frozen=True)
class Bicycle:
    name: str
    mass_kg: float = 12.5
    gears: tuple[int, ...] = (1,)
    size: tuple[int, int] | None = None
    wheel: Wheel = field(default_factory=Wheel)
    manual: Path | None = None
    parts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mass_kg <= 0:
            raise ConfigError(f"mass_kg must be positive, but got {self.mass_kg}")


def test_nested_records_lists_and_paths() -> None:
    found = records.from_mapping(
        Bicycle,
        {"name": "Ada", "mass_kg": 9, "gears": [1, 2], "size": [54, 56], "wheel": {"spokes": 28}, "manual": "a/b.pdf"},
        "here",
    )
    assert found == Bicycle("Ada", 9.0, (1, 2), (54, 56), Wheel(28), Path("a/b.pdf"))
    assert isinstance(found.mass_kg, float)


def test_there_and_back_through_json() -> None:
    bicycle = Bicycle("Ada", 9.0, (1, 2), None, Wheel(28), Path("a/b.pdf"), {"bell": 1})
    text = json.dumps(records.to_mapping(bicycle))
    assert records.from_mapping(Bicycle, json.loads(text), "here") == bicycle


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "here: 'name' is missing"),
        ({"name": "Ada", "mas_kg": 9}, "here: unknown key 'mas_kg'; did you mean 'mass_kg'?"),
        ({"name": "Ada", "qqqq": 9}, "here: unknown key 'qqqq'; known: "),
        ({"name": "Ada", "wheel": {"spoke": 28}}, "here: unknown key 'spoke'; did you mean 'spokes'?"),
        ({"name": 7}, "here: 'name' must be str, but is 7"),
        ({"name": "Ada", "wheel": {"spokes": "many"}}, "here: 'wheel.spokes' must be int, but is 'many'"),
        ({"name": "Ada", "mass_kg": True}, "here: 'mass_kg' must be float, but is True"),
        ({"name": "Ada", "mass_kg": "9"}, "here: 'mass_kg' must be float, but is '9'"),
        ({"name": "Ada", "mass_kg": 10**400}, "here: int too large to convert to float"),
        ({"name": "Ada", "wheel": {"spokes": True}}, "here: 'wheel.spokes' must be int, but is True"),
        ({"name": "Ada", "gears": [1, True]}, "here: 'gears' must be tuple[int, ...], but is [1, True]"),
        ({"name": "Ada", "gears": "12"}, "here: 'gears' must be tuple[int, ...], but is '12'"),
        ({"name": "Ada", "size": [1, 2, 3]}, "here: 'size' must be"),
        ({"name": "Ada", "manual": 3}, "here: 'manual' must be"),
        ({"name": "Ada", "mass_kg": -1}, "here: mass_kg must be positive, but got -1"),
    ],
)
def test_what_does_not_fit_is_told(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        records.from_mapping(Bicycle, mapping, "here")
    assert message in str(caught.value)


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "bicycle.toml"
    path.write_text('name = "Ada"\ngears = [1, 2]\n[wheel]\nspokes = 28\n', encoding="utf-8")
    assert records.from_toml(Bicycle, path) == Bicycle("Ada", gears=(1, 2), wheel=Wheel(28))


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", None])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bicycle.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bicycle\.toml cannot be read as TOML: "):
        records.from_toml(Bicycle, path)


def test_an_empty_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bicycle.toml").write_text("# nothing but a comment\n")
    with pytest.raises(ConfigError, match=r"bicycle\.toml is empty; known: .*mass_kg"):
        records.from_toml(Bicycle, tmp_path / "bicycle.toml")
