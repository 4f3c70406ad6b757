"""Tables of activation ranges that lie."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")

from hgedge.checkpoints import load_checkpoint
from hgedge.quantization.ranges import MIN_IMAGES, make_table, table_key

NAMING_VERSION = 1
FORMAT = '"format_version": '


@pytest.fixture(scope="module")
def table(tiny_checkpoint):
    """A table that would fit the tiny network, were it not for the tensors, as JSON."""
    checkpoint = load_checkpoint(tiny_checkpoint)
    key = table_key(checkpoint.sha256, checkpoint.input, NAMING_VERSION)
    return make_table(key, "mean-minmax", 64, {"image": (-1.0, 1.0), "hgs.0.up.0.conv1": (-1.0, 1.0)}).to_json()


def with_range(value):
    """A table with another range of `image`, as JSON text."""
    return lambda text: text.replace('"image": [-1.0, 1.0]', f'"image": {value}')


def with_value(name, value):
    return lambda text: json.dumps({**json.loads(text), name: value})


READING = {
    "NaN": (with_range("[NaN, 1]"), "t.json: range of 'image' must be finite in float32, but is [nan, 1]"),
    "infinite": (with_range("[0, Infinity]"), "t.json: range of 'image' must be finite"),
    "turned round": (with_range("[2, 1]"), "t.json: range of 'image' has low 2.0 above high 1.0"),
    "huge": (with_range("[0, 1e300]"), "t.json: range of 'image' must be finite in float32"),
    "huge integer": (with_range("[0, 1" + "0" * 400 + "]"), "t.json: range of 'image' must be finite in float32"),
    "one number": (with_range("[0]"), "t.json: range of 'image' must be two numbers, low and high, but is [0]"),
    "text": (with_range('"0..1"'), "t.json: range of 'image' must be two numbers"),
    "truth": (with_range("[false, true]"), "t.json: range of 'image' must be two numbers"),
    "a tensor twice": (with_range('[0, 1], "image": [0, 2]'), "it names 'image' twice"),
    "a key twice": (lambda text: text.replace('"images":', '"images": 8, "images":'), "it names 'images' twice"),
    "from the future": (with_value("format_version", 99), "t.json: range table has format 99, not 1"),
    "unknown method": (with_value("method", "magic"), "t.json: range table names the method 'magic', not one of"),
    "half an image": (with_value("images", 64.5), "t.json: range table: 'images' must be int, but is 64.5"),
    "negative images": (with_value("images", -1), "t.json: range table has images -1, below 0"),
    "unknown key": (with_value("imagse", 64), "t.json: range table: unknown key 'imagse'; did you mean 'images'?"),
    "ranges in a list": (with_value("ranges", []), "t.json is no range table: it has no 'ranges'"),
    "no ranges": (lambda text: "{}", "t.json is no range table: it has no 'ranges'"),
    "a list": (lambda text: "[1]", "t.json is no range table: it has no 'ranges'"),
    "empty": (lambda text: "", "t.json is no range table in JSON (Expecting value"),
    "cut off": (lambda text: text[: len(text) // 2], "t.json is no range table in JSON"),
    "no JSON": (lambda text: "words", "t.json is no range table in JSON"),
    "deep": (lambda text: "[" * 100_000, "t.json is no range table in JSON"),
}
FITTING = {
    "another model's": (with_value("key", f"names{NAMING_VERSION}-{'0' * 64}"), "t.json was made for another network"),
    "a key of nothing": (with_value("key", "nonsense"), "t.json was made for another network or input (key nonsense"),
    "another rule of names": (with_value("naming_version", 7), "t.json names tensors by rule 7, but this hgedge by"),
    "too few images": (with_value("images", 3), f"t.json comes from 3 pictures, but INT8 needs at least {MIN_IMAGES}"),
    "missing tensors": (lambda text: text, "tensors to quantise have no range, first "),
}


@pytest.mark.parametrize("case", READING)
def test_what_cannot_be_read_is_refused(refused, table, tmp_path, case):
    content, message = READING[case]
    (tmp_path / "t.json").write_text(content(table))
    refused(("build", "TINY", "--calibration", "t.json"), 2, message, "calibrate again with pictures")


@pytest.mark.parametrize("case", FITTING)
def test_what_does_not_fit_is_refused(refused, table, tmp_path, case):
    content, message = FITTING[case]
    (tmp_path / "t.json").write_text(content(table))
    refused(("build", "BUNDLE", "--calibration", "t.json", "--no-engine", "--output", "."), 2, message, "calibrate")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("TINY", "--calibration", "nowhere"), "no such calibration folder, recipe or table: nowhere"),
        (("TINY", "--calibration", "."), "calibration needs at least 32 pictures, but . gives 0; add pictures"),
        (("TINY",), "give pictures like those that it will see"),
    ],
)
def test_no_table(refused, words, message):
    refused(("build", *words, "--precision", "int8"), 2, message)
