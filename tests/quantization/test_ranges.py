from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest

from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.ranges import (
    MIN_IMAGES,
    RangeTable,
    check,
    load_table,
    make_table,
    naming_version,
    needed,
    save_table,
    table_key,
)
from hgedge.spec import InputSpec

KEY = table_key("ab" * 32, InputSpec(), 1)
RANGES = {"b": (-0.1, 1 / 3), "a": (0.0, 1e-30), "c": (-3.4e38, 2.0)}


@pytest.fixture
def table() -> RangeTable:
    return make_table(KEY, "mean-minmax", 128, RANGES)


def test_round_trip_is_exact_in_float32(table, tmp_path):
    save_table(table, tmp_path / "t.json")
    loaded = load_table(tmp_path / "t.json")
    assert loaded == table
    assert loaded.digest == table.digest
    for name, limits in RANGES.items():
        assert loaded.ranges[name] == tuple(float(np.float32(value)) for value in limits)
    assert "[-0.1, 0.33333334]" in (tmp_path / "t.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_many_random_float32_survive(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = np.sort(values[np.isfinite(values)])
    ranges = {f"t{i}": (float(low), float(high)) for i, (low, high) in enumerate(pairwise(values))}
    save_table(make_table(KEY, "minmax", 32, ranges), tmp_path / "t.json")
    assert load_table(tmp_path / "t.json").ranges == ranges


def test_digest_is_over_what_decides_the_graph(table):
    def digest(**changes):
        return dataclasses.replace(table, **changes).digest

    assert digest(hgedge_version="9") == table.digest
    assert make_table(KEY, "mean-minmax", 128, dict(reversed(RANGES.items()))).digest == table.digest
    changed = [
        digest(method="minmax"),
        digest(images=64),
        digest(key=KEY + "0"),
        digest(ranges={**RANGES, "b": (-0.1, 0.33333337)}),
    ]
    assert len({table.digest, *changed}) == 5


def test_key_depends_on_every_part():
    keys = {
        KEY,
        table_key("cd" * 32, InputSpec(), 1),
        table_key("ab" * 32, InputSpec(hw=(128, 256)), 1),
        table_key("ab" * 32, InputSpec(mean=(0.4, 0.4, 0.4)), 1),
        table_key("ab" * 32, InputSpec(), 2),
    }
    assert len(keys) == 5
    assert table_key("ab" * 32, InputSpec(), 1) == KEY


def test_naming_version_is_the_exported_graphs(hourglass, small):
    from hgedge.export.rewrites.name_tensors import NAMING_VERSION

    assert naming_version(hourglass) == NAMING_VERSION
    with pytest.raises(QuantizationError, match=r"does not say by which rule its tensors are named.*hgedge export"):
        naming_version(small)


def test_check_takes_the_network_it_was_made_for(table):
    check(table, KEY)
    check(dataclasses.replace(table, images=MIN_IMAGES), KEY)


def test_check_refuses(table):
    other = table_key("cd" * 32, InputSpec(), 1)
    with pytest.raises(QuantizationError, match=r"t.json was made for another network or input.*--calibration FOLDER"):
        check(table, other, "t.json")
    with pytest.raises(QuantizationError, match=r"names tensors by rule 1, but this hgedge by rule 2; calibrate again"):
        check(table, table_key("ab" * 32, InputSpec(), 2))
    with pytest.raises(
        QuantizationError, match=r"comes from 31 pictures, but INT8 needs at least 32; calibrate with more"
    ):
        check(dataclasses.replace(table, images=31), KEY)
    with pytest.raises(QuantizationError, match=r"key must come from table_key, but is 'abc'"):
        check(table, "abc")


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"x": (float("nan"), 1.0)}, r"range of 'x' must be finite in float32, but is \[nan, 1.0\]; calibrate again"),
        ({"x": (0.0, float("inf"))}, "range of 'x' must be finite"),
        ({"x": (0.0, 1e39)}, "range of 'x' must be finite in float32"),
        ({"x": (0.0, 10**400)}, "range of 'x' must be finite in float32"),
        ({"x": (2.0, 1.0)}, "range of 'x' has low 2.0 above high 1.0; calibrate again"),
        ({"x": (1.0,)}, "range of 'x' must be two numbers"),
        ({"x": (True, 1.0)}, "range of 'x' must be two numbers"),
    ],
)
def test_wrong_ranges_are_refused(ranges, message):
    with pytest.raises(QuantizationError, match=message):
        make_table(KEY, "minmax", 64, ranges)
    with pytest.raises(QuantizationError, match=message):
        needed(ranges, ["x"])


def test_negative_count_and_unknown_method_are_refused():
    with pytest.raises(QuantizationError, match=r"has images -1, below 0"):
        make_table(KEY, "minmax", -1, RANGES)
    for name in ("magic", "percentile"):  # of which percentile?
        with pytest.raises(QuantizationError, match=f"method '{name}', not one of mean-minmax, minmax, percentile"):
            make_table(KEY, name, 64, RANGES)
    assert make_table(KEY, "percentile-99.9", 64, RANGES).method == "percentile-99.9"


def test_a_part_of_the_table_is_enough_but_nothing_may_be_missing(table):
    assert list(needed(table.ranges, ["b", "a"])) == ["b", "a"]
    with pytest.raises(
        QuantizationError, match=r"2 of the 3 tensors to quantise have no range, first 'x'.*calibrate again"
    ):
        needed(table.ranges, ["a", "x", "y"])


def broken(table: RangeTable, **changes: object) -> str:
    mapping = {**json.loads(table.to_json()), **changes}
    return json.dumps({name: value for name, value in mapping.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": None}, "'key' is missing"),
        ({"images": "128"}, "'images' must be int, but is '128'"),
        ({"images": 1.5}, "'images' must be int, but is 1.5"),
        ({"imagez": 1}, "unknown key 'imagez'; did you mean 'images'"),
        ({"ranges": [1]}, "it has no 'ranges'"),
        ({"ranges": {"x": [0, 1], "y": [0, "1"], "z": 0}}, "range of 'y' must be two numbers"),
        ({"ranges": {"x": [float("nan"), 1]}}, "range of 'x' must be finite"),
        ({"format_version": 2}, "has format 2, not 1"),
        ({"images": -5}, "has images -5, below 0"),
    ],
)
def test_first_wrong_thing_of_a_file_is_named(table, tmp_path, changes, message):
    path = tmp_path / "t.json"
    path.write_text(broken(table, **changes))
    with pytest.raises(QuantizationError, match=f"t.json.*{message}.*calibrate again with pictures"):
        load_table(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_broken_files_are_refused(tmp_path, content):
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(QuantizationError, match=r"t.json is no range table in JSON"):
        load_table(tmp_path / "t.json")


def test_files_that_cannot_be_read_or_written(table, tmp_path):
    with pytest.raises(QuantizationError, match=r"cannot read the range table .*none.json: No such file"):
        load_table(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"cannot write the range table .*No such file"):
        save_table(table, tmp_path / "none" / "t.json")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write the range table"):
        save_table(table, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
