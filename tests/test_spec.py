"""What a network expects, and manifests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hgedge.errors import ConfigError, EngineMismatch
from hgedge.pose import KeypointSet
from hgedge.spec import (
    FORMAT_VERSION,
    BackendInfo,
    CalibrationInfo,
    DecodeSpec,
    DeviceInfo,
    InputSpec,
    Manifest,
    ModelInfo,
    manifest_from_json,
)

OPTIONAL = {"backend", "device", "calibration", "agreement", "accuracy", "drop"}


def manifest(**changes: Any) -> Manifest:
    values = {
        "hgedge_version": "0.1.0",
        "measured": True,
        "model": ModelInfo("default", "ab" * 32, 2, 6_730_912, 3.25),
        "precision": "int8",
        "backend": BackendInfo("openvino", "2026.4.1"),
        "device": DeviceInfo("A CPU", "x86_64", ("avx2", "avx512_vnni")),
        "input": InputSpec((256, 192), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "keypoints": KeypointSet("two", ("left", "right"), ((0, 1),), (1, 0)),
        "decode": DecodeSpec(),
        "digest": "cd" * 32,
        "calibration": CalibrationInfo("mean-minmax", 128, "ef" * 32, "stream"),
        "agreement": {"mean_px": 0.3, "p99_px": 2.0},
        "batch": (1, 4),
        "files": {"model.onnx": "01" * 32},
        "num_convs": 90,
        "num_convs_int8": 88,
    }
    return Manifest(**{**values, **changes})


@pytest.mark.parametrize("missing", [None, *sorted(OPTIONAL)])
def test_there_and_back(missing: str | None) -> None:
    written = manifest() if missing is None else manifest(**{missing: None})
    assert manifest_from_json(written.to_json(), "manifest.json") == written


def test_the_names_of_the_contract() -> None:
    found = json.loads(manifest().to_json())
    assert found["format_version"] == FORMAT_VERSION
    assert {"hgedge_version", "measured", "model", "precision", "backend", "device", "input", "keypoints"} <= set(found)
    assert {"decode", "calibration", "files"} <= set(found)
    assert set(found["model"]) >= {"name", "sha256", "num_stacks", "parameters", "gmacs"}
    assert set(found["backend"]) >= {"name", "version"}
    assert set(found["device"]) >= {"name", "architecture"}
    assert found["input"]["hw"] == [256, 192]
    assert set(found["input"]) == {"hw", "color", "mean", "std", "layout"}
    assert set(found["keypoints"]) == {"name", "names", "skeleton", "flip_indices"}
    assert set(found["decode"]) == {"stride", "shift", "convention", "refinement"}
    assert set(found["calibration"]) >= {"method", "images", "digest"}


def without(key: str) -> str:
    mapping = json.loads(manifest().to_json())
    del mapping[key]
    return json.dumps(mapping)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "m.json is not JSON"),
        ("[]", "m.json has no format_version"),
        ("{}", "m.json has no format_version"),
        ('{"format_version": 999}', "m.json has format 999, but this hgedge reads up to"),
        (without("precision"), "m.json: 'precision' is missing; rebuild the bundle with hgedge build MODEL --force"),
        (manifest().to_json().replace('"measured"', '"mesured"'), "did you mean 'measured'?"),
        (manifest().to_json().replace('"rgb"', '"cmyk"'), "color must be one of rgb, bgr, gray, but got 'cmyk'"),
    ],
)
def test_what_is_no_manifest(text: str, message: str) -> None:
    with pytest.raises(EngineMismatch) as caught:
        manifest_from_json(text, "m.json")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hw": (0, 256)}, "hw must be height and width"),
        ({"color": "yuv"}, "color must be one of"),
        ({"color": "gray"}, "gray needs 1 values of mean and std"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"layout": "NHWC"}, "layout must be NCHW"),
    ],
)
def test_input_spec_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InputSpec(**options)


def test_channels() -> None:
    assert InputSpec().channels == 3
    assert InputSpec(color="gray", mean=(0.0,), std=(1.0,)).channels == 1


@pytest.mark.parametrize(
    ("flip", "skeleton", "message"),
    [((0, 0), (), "must be a permutation of 2"), ((1, 0), ((0, 2),), "names a keypoint outside 0..1")],
)
def test_keypoint_set_refuses(flip: tuple[int, ...], skeleton: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KeypointSet("two", ("left", "right"), skeleton, flip)
