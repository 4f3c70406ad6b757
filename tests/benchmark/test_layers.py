"""Layers of real engines of the default model, timed, against its graph: none lost, none twice, none invented."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import Counter
from functools import cache

import numpy as np
import pytest

from hgedge import backends
from hgedge import bundle as bundles
from hgedge.backends.base import PROFILE_WARMUP, TimedLayer
from hgedge.benchmark import layers
from hgedge.builder import BuildOptions, build
from hgedge.errors import BackendUnavailable, EngineMismatch
from hgedge.export.statistics import read_summary
from hgedge.models.zoo import shipped_half
from hgedge.spec import BackendInfo

RUNS = 5
ENGINES = [("int8", "openvino"), ("int8", "onnxruntime"), ("fp32", "torch")]
LARGE, SMALL = 0.05, 0.0005  # GMAC: a hundred times apart


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """bundle(precision, backend): the default model, built."""
    folder = tmp_path_factory.mktemp("engines")

    @cache
    def built(precision, backend):
        pytest.importorskip(backend, reason=f"needs {backend}")
        if backend == "torch":
            return torch_bundle(folder / "torch")
        return build(BuildOptions(precision=precision, backend=backend, output=folder)).bundle

    return built


def torch_bundle(folder):
    """The shipped network for PyTorch; its graph is the shipped one, as to export it takes long."""
    from hgedge.backends.torch.build import device, version
    from hgedge.models.zoo import shipped_weights

    shutil.copytree(shipped_half("default"), folder)
    shutil.copyfile(folder / "source.onnx", folder / "model.onnx")
    shutil.copyfile(shipped_weights("default"), folder / "weights.safetensors")
    half = bundles.read_manifest(folder)
    backend = BackendInfo("torch", version())
    bundles.seal(folder, dataclasses.replace(half, precision="fp32", backend=backend, device=device()))
    return folder


@pytest.fixture(scope="module")
def profiled(bundle):
    """profiled(precision, backend): its layers, and what its graph has."""

    @cache
    def timed(precision, backend):
        folder = bundle(precision, backend)
        return layers.profile(folder, RUNS), read_summary(folder / "model.onnx")[1], bundles.read_manifest(folder)

    return timed


@pytest.mark.parametrize("engine", ENGINES, ids="-".join)
def test_every_convolution_is_in_one_layer(profiled, engine):
    found, graph, manifest = profiled(*engine)
    convolutions = {layer.name: layer.macs for layer in graph if layer.op == "Conv"}
    counted = [layer for layer in found if layer.gmacs is not None]
    assert Counter(layer.name for layer in counted) == Counter(list(convolutions))
    assert {layer.name: layer.gmacs for layer in counted} == {name: macs / 1e9 for name, macs in convolutions.items()}
    assert sum(layer.gmacs for layer in counted) == pytest.approx(manifest.model.gmacs, abs=1e-4)
    assert all(layer.name in layer.nodes and "onv" in layer.kind for layer in counted)
    assert {node for layer in found for node in layer.nodes} <= {layer.name for layer in graph}


@pytest.mark.parametrize("engine", ENGINES, ids="-".join)
def test_stacks_are_those_of_the_names(profiled, engine):
    found, _, manifest = profiled(*engine)
    assert {layer.stack for layer in found} == {None, *range(manifest.model.num_stacks)}
    stacks = {layer.name: layer.stack for layer in found}
    assert (stacks["stem.conv"], stacks["hgs.0.inner.up.0.conv2"], stacks["merge_features.0"]) == (None, 0, 0)
    assert (stacks["hgs.1.up.0.conv1"], stacks["outs.1"]) == (1, 1)
    first, last = (next(i for i, layer in enumerate(found) if layer.name == name) for name in ("stem.conv", "outs.1"))
    assert first < len(found) // 10 and last > 0.9 * len(found)  # in the order of execution


@pytest.mark.parametrize("engine", ENGINES, ids="-".join)
def test_more_work_takes_more_time(profiled, engine):
    found, _, _ = profiled(*engine)
    large = [layer.ms for layer in found if layer.gmacs is not None and layer.gmacs > LARGE]
    small = [layer.ms for layer in found if layer.gmacs is not None and layer.gmacs < SMALL]
    assert len(large) > 5 and len(small) > 5 and np.median(small) < np.median(large)
    assert all(layer.ms >= 0 for layer in found) and sum(layer.ms == 0 for layer in found) < len(found) / 10
    rated = next(layer for layer in found if layer.name == "stem.residual1.conv2")
    assert rated.gmac_per_s == pytest.approx(rated.gmacs / (rated.ms / 1e3))
    assert next(layer for layer in found if layer.gmacs is None).gmac_per_s is None


def test_openvino_runs_all_but_the_head_in_int8(profiled):
    found, _, manifest = profiled("int8", "openvino")
    precisions = {layer.name: layer.precision for layer in found if layer.gmacs is not None}
    assert {name for name, precision in precisions.items() if precision != "int8"} == {"outs.1"}
    assert precisions["outs.1"] == "fp32" and Counter(precisions.values())["int8"] == manifest.num_convs_int8
    fused = next(layer for layer in found if layer.name == "stem.residual1.conv3")
    assert fused.nodes == ("stem.residual1.conv3", "stem.residual1.add")


def test_pytorch_computes_in_float(profiled):
    found, _, _ = profiled("fp32", "torch")
    assert {layer.precision for layer in found if layer.gmacs is not None} == {"fp32"}


def test_onnx_runtime_dequantises_before_it_convolves(profiled):
    """The profiler tells what the graph does not: where it dequantises the weights, it convolves in float."""
    found, _, manifest = profiled("int8", "onnxruntime")
    precisions = {layer.name: layer.precision for layer in found if layer.gmacs is not None}
    assert len(precisions) == manifest.num_convs
    weights = sum(layer.kind == "DequantizeLinear" and ".weight" in layer.name for layer in found)
    assert weights == sum(precision == "fp32" for name, precision in precisions.items() if name != "outs.1")


def test_the_sum_is_of_the_order_of_the_engine(profiled, bundle):
    found, _, _ = profiled("int8", "onnxruntime")
    told = []
    alone = layers.engine_ms(bundle("int8", "onnxruntime"), RUNS, lambda *step: told.append(step))
    assert 0.1 < sum(layer.ms for layer in found) / alone < 10  # the same unit, and nothing counted twice
    assert told[-1] == ("engine alone", PROFILE_WARMUP + RUNS, PROFILE_WARMUP + RUNS)


def manifest(**changes):
    half = bundles.read_manifest(shipped_half("default"))
    return dataclasses.replace(half, model=dataclasses.replace(half.model, **changes))


def timed(name, ms, kind="Convolution", precision="u8", nodes=()):
    return TimedLayer(name, kind, precision, (ms, ms, 3 * ms), nodes)


def test_what_a_profiler_tells_in_the_words_of_the_graph():
    macs = {"hgs.1.conv": 2_000_000, "hgs.1.conv.relu": 0, "hgs.1.add": 0, "hgs.12.conv": 1_000_000, "stem.pool": 0}
    found = layers.named(
        [
            timed("a reorder", 1.0, "Reorder", "f32"),
            timed("hgs.1.conv.relu", 2.0, nodes=("hgs.1.conv", "Multiply_7", "hgs.1.conv.relu", "hgs.12.conv")),
            timed("hgs.1.conv/again", 4.0, nodes=("hgs.1.conv",)),
            timed("stem.pool.quantized", 6.0, "Subgraph", "bf16", ("hgs.1.add",)),
            timed("hgs.1.add.up", 8.0, "Interpolate", "i64", ("hgs.1.add",)),
        ],
        macs,
        manifest(),
        crops=2,
    )
    assert [layer.name for layer in found] == ["a reorder", "hgs.1.conv", "hgs.1.conv", "stem.pool", "hgs.1.add"]
    assert [layer.ms for layer in found] == [0.5, 1, 2, 3, 4]  # for one crop
    assert [layer.gmacs for layer in found] == [None, 0.003, None, None, None]
    assert found[1].nodes == ("hgs.1.conv", "hgs.1.conv.relu", "hgs.12.conv") and found[1].gmac_per_s == 3
    assert [layer.stack for layer in found] == [None, 1, 1, None, 1]
    assert [layer.precision for layer in found] == ["fp32", "int8", "int8", "bf16", "i64"]


def test_the_output_s_name_stands_for_the_node_that_makes_it():
    macs = {"hgs.1.conv": 0, "outs.1": 7}
    (layer,) = layers.named([timed("heatmaps", 1.0, nodes=("heatmaps",))], macs, manifest())
    assert (layer.name, layer.stack, layer.gmacs) == ("outs.1", 1, 7e-9)
    (layer,) = layers.named([timed("heatmaps", 1.0, nodes=("heatmaps",))], {"heatmaps": 3, **macs}, manifest())
    assert (layer.name, layer.stack, layer.gmacs) == ("heatmaps", None, 3e-9)


def test_names_of_a_foreign_graph_say_nothing_of_stacks():
    (layer,) = layers.named([timed("x", 1.0, nodes=("hgs.1.conv",))], {"hgs.1.conv": 5}, manifest(num_stacks=0))
    assert (layer.name, layer.stack, layer.gmacs) == ("hgs.1.conv", None, 5e-9)


def test_without_a_graph_the_engine_s_names_are_all_there_is():
    (layer,) = layers.named([timed("hgs.1.a + b", 1.0, nodes=("hgs.1.a", "b"))], None, manifest())
    assert (layer.name, layer.stack, layer.gmacs, layer.nodes) == ("b", None, None, ("hgs.1.a", "b"))


def test_what_has_no_engine_or_no_profiler_is_refused(monkeypatch):
    half = shipped_half("default")
    with pytest.raises(EngineMismatch, match=re.escape(f"make one with: hgedge build {half}")):
        layers.profile(half)
    monkeypatch.setitem(backends.BACKENDS, "other", "hgedge.sinks")
    with pytest.raises(BackendUnavailable, match="backend other cannot tell the time .*: openvino, onnxruntime, torch"):
        backends.profiler("other")
