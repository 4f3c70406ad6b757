"""Engines of TensorRT-RTX, whose builder needs no GPU: what the network is before it is built, and what comes out."""

from __future__ import annotations

import enum
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from hgedge import backends
from hgedge.backends.tensorrt import build as tensorrt_build
from hgedge.backends.tensorrt.build import build_engine, render_for, timing_cache_path
from hgedge.backends.tensorrt.library import library, logger, strongly_typed
from hgedge.backends.tensorrt.network import creation_flags, describe, parse
from hgedge.backends.tensorrt.progress import Steps
from hgedge.builder import BuildOptions, build
from hgedge.bundle import open_bundle
from hgedge.checkpoints import resolve
from hgedge.errors import BackendUnavailable, ConfigError, ExportError, QuantizationError
from hgedge.export.to_onnx import onnx_from_network
from hgedge.models.hourglass import HourglassNet
from hgedge.models.zoo import config_of
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.placement import quantized_tensors
from hgedge.runtime.pipeline import load, newest
from hgedge.spec import InputSpec

PRECISIONS = ("fp32", "fp16", "int8")
MAX_HALF_SIZE = 0.7  # of an FP32 engine; what is not weights is as large as before


@pytest.fixture(scope="module")
def rtx():
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    return library("tensorrt-rtx")


@pytest.fixture(scope="module")
def sources():
    """Name -> FP32 graph: the default model, and hg1 with seeded weights."""
    import torch

    default = resolve(None)
    torch.manual_seed(0)
    return {
        "default": onnx_from_network(default.net, default.input, default.net.config.num_stacks),
        "hg1": onnx_from_network(HourglassNet(config_of("hg1")).eval(), InputSpec(), 1),
    }


def graph(source, precision, trt, unsigned=False):
    if precision == "int8":
        ranges = {name: (-1.0, 2.0) for name in quantized_tensors(source, "stream")}
        source = quantize(source, ranges, "stream", unsigned)
    return render_for(trt, source, precision)


@pytest.fixture(scope="module")
def files(rtx, sources, tmp_path_factory):
    """(model, precision) -> ONNX file."""
    folder = tmp_path_factory.mktemp("graphs")
    found = {}
    for name, source in sources.items():
        for precision in PRECISIONS:
            found[name, precision] = folder / f"{name}-{precision}.onnx"
            onnx.save(graph(source, precision, rtx), found[name, precision])
    return found


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", ["default", "hg1"])
def test_the_builder_gets_the_types_that_were_asked_for(rtx, files, name):
    fp32, fp16, int8 = (describe(parse(files[name, precision], rtx).network) for precision in PRECISIONS)
    count = fp32.layers["CONVOLUTION"]
    assert count == sum(node.op_type == "Conv" for node in onnx.load(files[name, "fp32"]).graph.node)
    assert set(fp32.tensors) == {"FLOAT"} and fp32.convolutions == {"FLOAT": count}
    assert fp16.tensors["FLOAT"] == 2 and set(fp16.tensors) == {"FLOAT", "HALF"}  # the graph's ends
    assert fp16.convolutions == {"HALF": count} and fp16.layers["CAST"] == 2
    assert int8.tensors["FLOAT"] == 2 and set(int8.tensors) == {"FLOAT", "HALF", "INT8"}
    assert int8.convolutions == {"INT8": count - 1, "HALF": 1} and int8.layers["CAST"] == 2  # the head is not INT8


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", ["default", "hg1"])
def test_engines_are_built_and_fp16_halves_them(rtx, files, tmp_path, name):
    told = []
    sizes = {}
    for precision in PRECISIONS:
        engine = tmp_path / f"{precision}.plan"
        build_engine(files[name, precision], engine, (1,), rtx, lambda *step: told.append(step))
        sizes[precision] = engine.stat().st_size
    assert sizes["fp16"] < MAX_HALF_SIZE * sizes["fp32"]
    assert sizes["int8"] > sizes["fp32"] / 8
    assert {stage for stage, _, _ in told} == {"engine"} and all(done <= total for _, done, total in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp16.plan", "fp32.plan", "int8.plan"]


@pytest.mark.tensorrt
def test_a_profile_over_several_batches(rtx, files, tmp_path):
    told = []
    build_engine(files["default", "fp16"], tmp_path / "b.plan", (1, 2, 4, 8), rtx, lambda *step: told.append(step))
    assert (tmp_path / "b.plan").stat().st_size > 1e6
    done = [step for _, step, _ in told]
    assert done == sorted(done) and told[-1][1] == told[-1][2] > 100


@pytest.mark.tensorrt
def test_whoever_waits_can_cancel(rtx, files, tmp_path):
    def stop(stage, done, total):
        if done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(files["default", "fp32"], tmp_path / "engine.plan", (1,), rtx, stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorrt
def test_parser_errors_are_shown(rtx, files, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"broken\.onnx is not an ONNX file \(.*\); export"):
        build_engine(broken, tmp_path / "engine.plan", (1,), rtx)
    model = onnx.load(files["default", "fp32"])
    model.graph.node[5].op_type = "NoSuchLayer"
    onnx.save(model, broken)
    with pytest.raises(ExportError, match=r"NoSuchLayer.*; export the graph again with: hgedge export"):
        build_engine(broken, tmp_path / "engine.plan", (1,), rtx)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


@pytest.mark.tensorrt
def test_unsigned_pairs_are_refused(rtx, sources, tmp_path):
    path = tmp_path / "unsigned.onnx"
    onnx.save(graph(sources["default"], "int8", rtx, unsigned=True), path)
    with pytest.raises(QuantizationError, match=r"zero point 0, but that of '.*\.relu.*' is another one \(UINT8\)"):
        build_engine(path, tmp_path / "engine.plan", (1,), rtx)
    model = graph(sources["default"], "int8", rtx)
    point = next(item for item in model.graph.initializer if item.name == "image.zero_point")
    point.CopyFrom(onnx.numpy_helper.from_array(np.int8(3), point.name))
    onnx.save(model, path)
    with pytest.raises(QuantizationError, match=r"that of 'image.half' is another one \(INT8, not 0\)"):
        parse(path, rtx)


@pytest.mark.tensorrt
def test_the_timing_cache_is_kept(rtx, files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = timing_cache_path(rtx, "NVIDIA Orin (sm_87)")
    assert path == tmp_path / "cache" / "hgedge" / f"{rtx.__name__}-{rtx.__version__}-NVIDIA-Orin-sm_87.timing"
    for _ in range(2):  # the second build reads it
        with pytest.warns(DeprecationWarning, match="no-op"):  # RTX has the calls, but measures where it runs
            build_engine(files["default", "fp16"], tmp_path / "engine.plan", (1,), rtx, timing_cache=path)
        assert path.stat().st_size > 0


@pytest.mark.tensorrt
def test_the_library_speaks_through_logging(rtx, caplog):
    assert logger(rtx) is logger(rtx)
    caplog.set_level(logging.DEBUG)
    logger(rtx).log(rtx.ILogger.Severity.ERROR, "kernel is lost")
    logger(rtx).log(rtx.ILogger.Severity.VERBOSE, "tactic 17")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", f"{rtx.__name__}: kernel is lost")
    ]


@pytest.mark.tensorrt
def test_a_bundle_without_a_gpu(rtx, hgedge, tmp_path):
    result = hgedge("build", "--backend", "tensorrt-rtx", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["agreement"] is None and "is not measured" in result.stderr
    bundle = tmp_path / report["bundle"]
    manifest = open_bundle(bundle)
    assert not manifest.measured and manifest.backend.name == "tensorrt-rtx" and "engine.plan" in manifest.files
    assert "RTX" in manifest.device.name
    assert set(np.load(bundle / "golden.npz").files) == {"crops", "fp32_heatmaps"}
    assert describe(parse(bundle / "model.onnx", rtx).network).layers["CAST"] == 2
    assert report["num_convs_int8"] == report["num_convs"] - 1
    with pytest.raises(BackendUnavailable, match="cannot run here: .* has nothing that runs them yet; build for this"):
        load(bundle)
    assert newest(bundle.parent) is None
    again = build(BuildOptions(str(bundle), "fp32", "openvino", output=tmp_path / "cpu")).bundle  # what it says
    load(again).close()


def test_a_session_says_what_is_missing(tmp_path):
    for name in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises(BackendUnavailable, match="needs an NVIDIA GPU and a session"):
            backends.sessions(name).load(tmp_path, None)


def test_tensorrt_is_never_rtx(hgedge):
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("TensorRT is installed")
    result = hgedge("build", "--backend", "tensorrt", "--precision", "fp16")
    assert result.returncode == 3
    text = " ".join(result.stderr.split())
    assert "backend 'tensorrt' is not installed" in text and "pip install 'hgedge[tensorrt]'" in text


def test_precisions_without_a_graph():
    with pytest.raises(ConfigError, match="tensorrt builds fp32, fp16, int8, but got --precision bf16"):
        tensorrt_build.check_precision("bf16", "tensorrt")


def stand_in(creation: list[str], builder: list[str]) -> SimpleNamespace:
    """The two enums by which the versions of the library differ."""
    flags = enum.IntEnum("NetworkDefinitionCreationFlag", creation, start=0)
    return SimpleNamespace(NetworkDefinitionCreationFlag=flags, BuilderFlag=enum.IntEnum("BuilderFlag", builder))


@pytest.mark.parametrize(
    ("creation", "builder", "bits", "typed"),
    [
        (["EXPLICIT_BATCH"], ["FP16", "INT8"], 1, False),  # 8.6
        (["EXPLICIT_BATCH", "STRONGLY_TYPED"], ["FP16", "INT8"], 2, True),  # 10
        (["STRONGLY_TYPED"], ["TF32"], 1, True),  # 11, RTX
        (["OTHER"], ["TF32"], 0, True),  # once the flag is gone
    ],
)
def test_versions_differ_in_what_they_offer(sources, creation, builder, bits, typed):
    trt = stand_in(creation, builder)
    assert creation_flags(trt) == bits and strongly_typed(trt) == typed
    opsets = {precision: graph(sources["default"], precision, trt).opset_import[0].version for precision in PRECISIONS}
    assert opsets == {"fp32": 17, "fp16": 17, "int8": 19 if typed else 17}


def test_steps_nest_overlap_and_come_again():
    told = []
    steps = Steps(lambda *step: told.append(step))
    steps.start("build", 2)
    steps.start("time", 3)
    steps.step("time", 1)
    steps.finish("time")  # without its last step
    assert steps.step("build", 0)
    steps.start("time", 1)
    steps.step("time", 0)
    steps.finish("time")
    steps.finish("build")
    assert [(done, total) for _, done, total in told] == [
        (0, 2), (0, 5), (2, 5), (3, 5), (4, 5), (4, 6), (5, 6), (5, 6), (6, 6)
    ]  # fmt: skip


def test_gpu_is_asked_of_the_driver():
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(BackendUnavailable, match="backend 'tensorrt' (builds on|needs an NVIDIA)"):
        tensorrt_build.device()
