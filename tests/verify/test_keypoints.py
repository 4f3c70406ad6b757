"""A plain decoding of its own: equal to the runtime's, and each other step is called by its name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.runtime import pipeline
from hgedge.runtime.decode import decode
from hgedge.spec import DecodeSpec
from hgedge.verify.dark import dark_step
from hgedge.verify.keypoints import decoding
from hgedge.verify.replay import verify

FLOAT32_CELLS = 2e-6  # of cells up to 23
DEVICE_CELLS = 1e-4  # what kernels in float32 are held to (tests/runtime/cuda/test_decode_kernel.py)
QUARTER, DARK = DecodeSpec(), DecodeSpec(refinement="dark")


def drawn(noise, height=1.0, sigma=1.5):
    """(4, 14, 20, 24) maps with a Gaussian anywhere, up to the border, and noise."""
    random = np.random.default_rng(0)
    places = random.uniform(-0.5, (23.5, 19.5), (4, 14, 2))
    maps, _ = gaussian_heatmaps(places, np.ones((4, 14), bool), (20, 24), 1, sigma)
    return (height * maps + random.normal(0, noise, maps.shape)).astype(np.float32)


def decoded(spec, **changes):
    told = dataclasses.replace(spec, **changes)
    return lambda maps: decode(maps, told.stride, told.shift, told.refinement)[0]


MAPS = {
    "clean": drawn(0),
    "noisy": drawn(0.3),
    "noise alone": drawn(0.1, 0),
    "broad": drawn(0, sigma=28),
    "low, below zero in part": drawn(0.02, 0.1) - np.float32(0.02),
    "negative": drawn(0.01) - np.float32(2),
    "flat": np.zeros((1, 2, 9, 9), np.float32),
}


@pytest.mark.parametrize("maps", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("spec", [QUARTER, DARK, DecodeSpec(1, 0), DecodeSpec(8, refinement="dark")], ids=str)
def test_the_runtime_decodes_as_it_should(maps, spec):
    (stage,), mistakes = decoding(decoded(spec), maps, spec)
    assert stage.ok and not mistakes and stage.max <= FLOAT32_CELLS * spec.stride


WRONG = [
    (DARK, decoded(QUARTER), "wrong-refinement"),
    (DARK, decoded(QUARTER, shift=0), "wrong-refinement"),
    (QUARTER, decoded(DARK), "wrong-refinement"),
    (DecodeSpec(shift=0), decoded(DARK), "wrong-refinement"),
    (QUARTER, decoded(QUARTER, shift=0), "quarter-shift"),
    (DARK, lambda maps: decoded(DARK)(maps) + np.float32(0.5), "half-pixel"),
    (DARK, lambda maps: 2 * decoded(DecodeSpec(shift=0))(maps) - decoded(DARK)(maps), "unknown"),  # the other way
]


@pytest.mark.parametrize(("spec", "decoder", "name"), WRONG)
@pytest.mark.parametrize("maps", ["clean", "noisy"])
def test_another_step_is_named(spec, decoder, name, maps):
    (stage,), (mistake,) = decoding(decoder, MAPS[maps], spec)
    assert (stage.ok, mistake.name, mistake.where) == (False, name, "this machine")
    assert name == "unknown" or mistake.after <= stage.limit < mistake.before == stage.value


@pytest.mark.parametrize("maps", MAPS.values(), ids=MAPS)
def test_float32_is_no_mistake(maps):
    """A device's decoder may be off by what rounding does."""
    rounding = np.float32(4 * DEVICE_CELLS) * np.array([1, -1], np.float32)
    (stage,), mistakes = decoding(lambda maps: decoded(DARK)(maps) + rounding, maps, DARK)
    assert stage.ok and not mistakes and stage.max > DEVICE_CELLS


@pytest.mark.parametrize(("curvature", "settled"), [(0.8, True), (0.99, False), (1.01, False), (1.2, True)])
def test_where_rounding_decides_about_a_step_it_is_not_judged(curvature, settled):
    """Of a Gaussian so broad that its curvature, told in thousandths, is near the limit."""
    x, y = np.meshgrid(np.arange(21) - 10.3, np.arange(21) - 10)
    step, found = dark_step(np.exp(-curvature / 1000 * (x**2 + y**2) / 2), 10, 10)
    assert found is settled and (np.linalg.norm(step) > 0.1) == (curvature > 1)


@pytest.mark.parametrize("told", [DARK, QUARTER], ids=lambda spec: spec.refinement)
def test_a_bundle_whose_machine_takes_the_other_step(wrong, told, monkeypatch):
    bundle = wrong("fp32", "onnxruntime")
    folder = bundle.done(decode=dataclasses.replace(bundle.manifest.decode, refinement=told.refinement))
    assert verify(folder).ok
    other = "quarter" if told is DARK else "dark"
    monkeypatch.setattr(pipeline, "decode", lambda maps, stride, shift, _: decode(maps, stride, shift, other))
    report = verify(folder)
    assert [(one.name, one.where) for one in report.mistakes] == [("wrong-refinement", "this machine")]
    assert [stage.against for stage in report.stages if stage.ok is False] == ["plain decoding"]
