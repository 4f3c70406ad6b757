"""What is swept: sizes around a model's own, in an order that shares exports and ranges."""

from __future__ import annotations

import pytest

from hgedge.errors import ConfigError
from hgedge.sweep.grid import candidates, sizes_around
from hgedge.sweep.model import Axes


@pytest.mark.parametrize(
    ("own", "multiple", "expected"),
    [
        ((192, 192), 64, [(128, 128), (192, 192), (256, 256)]),
        ((256, 256), 64, [(192, 192), (256, 256), (320, 320)]),
        ((256, 256), 32, [(160, 160), (224, 224), (256, 256), (288, 288)]),
        ((256, 192), 64, [(192, 128), (192, 192), (256, 192), (320, 256)]),
        ((64, 64), 64, [(64, 64)]),
    ],
)
def test_sizes_are_multiples_about_the_models_own(own, multiple, expected):
    assert list(sizes_around(own, multiple)) == expected


def test_grid_goes_size_by_size_from_the_most_stacks_on():
    found = candidates((1, 2), ((64, 64), (128, 128)), ("fp32", "int8"), ("stream", "conv"))
    assert [each.name for each in found[:6]] == [
        "2 stacks 64x64 fp32",
        "2 stacks 64x64 int8 stream",
        "2 stacks 64x64 int8 conv",
        "1 stack 64x64 fp32",
        "1 stack 64x64 int8 stream",
        "1 stack 64x64 int8 conv",
    ]
    assert len(found) == len(set(found)) == 12


def test_unknown_precision_and_placement_are_refused():
    with pytest.raises(ConfigError, match=r"--precision must be of fp32, fp16, bf16, int8, but got 'int4'"):
        Axes(precisions=("fp32", "int4"))
    with pytest.raises(ConfigError, match="--placement must be of stream, conv, but got 'weights'"):
        Axes(placements=("weights",))
