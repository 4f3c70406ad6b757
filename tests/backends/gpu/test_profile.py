"""Kernels of NVIDIA's engines, timed: how IProfiler is used, with a stand-in, and what the real one tells, on a GPU."""

from __future__ import annotations

import json

import pytest

from hgedge import backends
from hgedge import bundle as bundles
from hgedge.backends.base import PROFILE_WARMUP
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.benchmark import layers
from hgedge.builder import BuildOptions, build
from hgedge.errors import BackendUnavailable, EngineMismatch
from hgedge.export.statistics import read_summary
from tests.backends.gpu.stand_in import MS_OF_FIRST, stand_in
from tests.backends.gpu.test_session_on_stand_in import bundle  # noqa: F401
from tests.runtime.cuda.gpu.conftest import cuda, simulated  # noqa: F401

pytestmark = pytest.mark.gpu

RUNS = 5


def kernel(name, kind, weights, *nodes):
    metadata = "".join(f"\x1e[ONNX Layer: {node}]" for node in nodes)
    return {"Name": name, "LayerType": kind, "Weights": {"Type": weights}, "Metadata": metadata}


KERNELS = [
    {"Name": "copy", "LayerType": "Reformat", "Inputs": [{"DataType": "Float"}], "Metadata": "[ONNX Layer: stem.conv]"},
    kernel("stem.conv + stem.conv.relu", "CaskConvolution", "Int8", "stem.conv", "stem.conv.relu"),
    kernel("two at once", "CaskConvolution", "Half", "hgs.0.up.0.conv3", "hgs.0.up.0.add", "outs.1"),
]


@pytest.mark.parametrize("rtx", [False, True])
def test_what_the_profiler_is_told(bundle, rtx):  # noqa: F811
    trt = stand_in(rtx=rtx)
    folder, _ = bundle(trt, document=json.dumps({"Layers": KERNELS}))
    steps = []
    found = layers.profile(folder, RUNS, lambda *step: steps.append(step))
    macs = {layer.name: layer.macs for layer in read_summary(folder / "model.onnx")[1]}
    assert [layer.name for layer in found] == ["copy", "stem.conv", "hgs.0.up.0.conv3"]
    assert [layer.kind for layer in found] == ["Reformat", "CaskConvolution", "CaskConvolution"]
    assert [layer.precision for layer in found] == ["fp32", "int8", "fp16"]
    assert [layer.stack for layer in found] == [None, None, 0]
    assert [layer.ms for layer in found] == [MS_OF_FIRST, 2 * MS_OF_FIRST, 3 * MS_OF_FIRST]
    assert found[0].nodes == () and found[1].nodes == ("stem.conv", "stem.conv.relu")
    assert found[2].nodes == ("hgs.0.up.0.conv3", "hgs.0.up.0.add", "outs.1")
    assert found[0].gmacs is None and found[1].gmacs == macs["stem.conv"] / 1e9
    assert found[2].gmacs == pytest.approx((macs["hgs.0.up.0.conv3"] + macs["outs.1"]) / 1e9)
    assert len(steps) == steps[-1][1] == RUNS + PROFILE_WARMUP
    assert trt.events[-1] == "runtime freed" and "without a context" not in " ".join(trt.events)
    assert [event for event in trt.events if event.startswith("shape")] == ["shape 1"]  # of the first size alone


def test_a_library_that_reports_nothing(bundle):  # noqa: F811
    folder, _ = bundle(stand_in(), document='{"Layers": []}')
    with pytest.raises(BackendUnavailable, match="tensorrt reports no times of this engine's kernels"):
        layers.profile(folder, RUNS)


@pytest.mark.tensorrt
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_on_a_gpu(simulated, tmp_path, backend, precision):  # noqa: F811
    if simulated:
        pytest.skip("needs a real GPU, and this is the simulated driver")
    reason = backends.why_not_here(backend)
    if reason is not None:
        pytest.skip(reason)
    folder = build(BuildOptions(None, precision, backend, output=tmp_path)).bundle
    try:
        found = layers.profile(folder, RUNS)
    except EngineMismatch as error:
        pytest.skip(f"{backend} engines do not run on {gpu().name}: {error}")
    counted = [node for layer in found if layer.gmacs is not None for node in layer.nodes]
    convolutions = [layer.name for layer in read_summary(folder / "model.onnx")[1] if layer.op == "Conv"]
    assert set(convolutions) <= set(counted)
    assert sum(layer.gmacs or 0 for layer in found) == pytest.approx(
        bundles.read_manifest(folder).model.gmacs, abs=1e-4
    )
    assert {layer.stack for layer in found} >= {0, 1} and all(layer.ms > 0 for layer in found)
