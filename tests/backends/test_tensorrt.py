"""The half of TensorRT that builds, with TensorRT-RTX, whose builder needs no GPU; all models: test_rtx_engines.py."""

from __future__ import annotations

import enum
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from hgedge import backends, device
from hgedge.backends.tensorrt import build as tensorrt_build
from hgedge.backends.tensorrt import gpu
from hgedge.backends.tensorrt.build import PRECISIONS, build_engine
from hgedge.backends.tensorrt.cache import cache_path
from hgedge.backends.tensorrt.library import logger, strongly_typed
from hgedge.backends.tensorrt.network import creation_flags, describe, parse
from hgedge.backends.tensorrt.progress import Steps
from hgedge.builder import BuildOptions, build
from hgedge.bundle import open_bundle
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch, ExportError, QuantizationError
from hgedge.runtime.pipeline import load, newest
from hgedge.spec import DeviceInfo

needs_no_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has an NVIDIA GPU")


@pytest.mark.tensorrt
def test_whoever_waits_can_cancel(rtx, onnx_file, tmp_path):
    def stop(stage, done, total):
        if done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx_file("default", "fp32"), tmp_path / "engine.plan", (1,), rtx, stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorrt
def test_parser_errors_are_shown(rtx, onnx_file, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(ExportError, match=r"broken\.onnx is not an ONNX file \(.*\); export"):
        build_engine(broken, tmp_path / "engine.plan", (1,), rtx)
    model = onnx.load(onnx_file("default", "fp32"))
    model.graph.node[5].op_type = "NoSuchLayer"
    onnx.save(model, broken)
    with pytest.raises(ExportError, match=r"NoSuchLayer.*; export the graph again with: hgedge export"):
        build_engine(broken, tmp_path / "engine.plan", (1,), rtx)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


@pytest.mark.tensorrt
def test_unsigned_pairs_are_refused(rtx, rendered, tmp_path):
    path = tmp_path / "unsigned.onnx"
    onnx.save(rendered("default", "int8", rtx, unsigned=True), path)
    with pytest.raises(QuantizationError, match=r"zero point 0, but that of '.*\.relu.*' is another one \(UINT8\)"):
        build_engine(path, tmp_path / "engine.plan", (1,), rtx)
    model = rendered("default", "int8", rtx)
    point = next(item for item in model.graph.initializer if item.name == "image.zero_point")
    point.CopyFrom(onnx.numpy_helper.from_array(np.int8(3), point.name))
    onnx.save(model, path)
    with pytest.raises(QuantizationError, match=r"that of 'image.half' is another one \(INT8, not 0\)"):
        parse(path, rtx)


@pytest.mark.tensorrt
def test_the_timing_cache_is_kept(rtx, onnx_file, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = cache_path(rtx, DeviceInfo("NVIDIA Orin", "aarch64", ("sm_87",)), "timing")
    assert path == tmp_path / "cache/hgedge/tensorrt" / f"{rtx.__name__}-{rtx.__version__}-NVIDIA-Orin-sm_87.timing"
    for _ in range(2):  # the second build reads it
        with pytest.warns(DeprecationWarning, match="no-op"):  # RTX has the calls, but measures where it runs
            build_engine(onnx_file("default", "fp16"), tmp_path / "engine.plan", (1,), rtx, timing_cache=path)
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


@needs_no_gpu
@pytest.mark.tensorrt
def test_a_bundle_without_a_gpu(rtx, hgedge, root, tmp_path):
    result = hgedge("build", "--backend", "tensorrt-rtx", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["agreement"] is None and "is not measured" in result.stderr
    assert "warning: TensorRT-RTX is tuned for FP16" in result.stderr
    bundle = tmp_path / report["bundle"]
    manifest = open_bundle(bundle)
    assert not manifest.measured and manifest.backend.name == "tensorrt-rtx" and "engine.plan" in manifest.files
    assert "RTX" in manifest.device.name and manifest.device.features == ("sm_86", "sm_89", "sm_120")
    assert set(np.load(bundle / "golden.npz").files) == {"crops", "fp32_heatmaps"}
    assert describe(parse(bundle / "model.onnx", rtx).network).layers["CAST"] == 2
    assert report["num_convs_int8"] == report["num_convs"] - 1
    missing = r"cannot run here: this machine has no NVIDIA GPU \(libcuda.*\); build for this machine: hgedge build "
    with pytest.raises(BackendUnavailable, match=missing):
        load(bundle)
    ran = hgedge("run", "--engine", bundle, "--source", root / "hgedge" / "pictures" / "astronaut.jpg")
    assert ran.returncode == 3 and "this machine has no NVIDIA GPU (libcuda.so.1: " in ran.stderr
    with pytest.raises(BackendUnavailable, match="pycuda is not installed|there is no NVIDIA driver"):
        backends.sessions("tensorrt-rtx").load(bundle, manifest)
    (bundle / "engine.plan").write_bytes(b"code of somebody else")  # after its hash was found to hold
    with pytest.raises(EngineMismatch, match="engine.plan is not the file that was built: its sha256 differs; rebuild"):
        backends.sessions("tensorrt-rtx").load(bundle, manifest)
    assert newest(bundle.parent) is None


@needs_no_gpu
@pytest.mark.tensorrt
def test_what_the_bundle_says_to_do_can_be_done(rtx, tmp_path):
    bundle = build(BuildOptions(None, "fp16", "tensorrt-rtx", output=tmp_path)).bundle
    load(build(BuildOptions(str(bundle), "fp32", "openvino", output=tmp_path / "cpu")).bundle).close()


@pytest.mark.tensorrt
def test_a_build_tells_the_builders_steps(rtx, tmp_path):
    told = []
    build(BuildOptions(None, "fp16", "tensorrt-rtx", output=tmp_path), lambda *step: told.append(step))
    steps = [(done, total) for stage, done, total in told if stage == "engine"]
    assert len(steps) > 100 and steps[-1][0] == steps[-1][1]


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
def test_versions_differ_in_what_they_offer(rendered, creation, builder, bits, typed):
    trt = stand_in(creation, builder)
    assert creation_flags(trt) == bits and strongly_typed(trt) == typed
    assert creation_flags(trt, typed=False) == ("EXPLICIT_BATCH" in creation)  # bit 0, for a DLA core
    opsets = {precision: rendered("default", precision, trt).opset_import[0].version for precision in PRECISIONS}
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


def driver(status=0):
    """What libcuda answers on a machine with an H200, or always this error."""

    def name(buffer, size, device):
        buffer.value = b"NVIDIA H200"
        return status

    def attribute(out, which, device):
        out._obj.value = {75: 9, 76: 0}[which]
        return status

    def memory(free, total):
        free._obj.value, total._obj.value = 100 << 30, 139 << 30

    def fine(*arguments):
        calls.append(arguments)
        return status

    calls: list[tuple] = []
    context = ("cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2")
    return SimpleNamespace(
        cuDeviceGetName=name,
        cuDeviceGetAttribute=attribute,
        cuMemGetInfo_v2=memory,
        **dict.fromkeys(("cuInit", "cuDeviceGet", *context), fine),
    )


def test_a_gpu_is_what_its_driver_says(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver())
    assert tensorrt_build.device() == DeviceInfo("NVIDIA H200", device.cpu().architecture, ("sm_90",))
    assert gpu.memory_bytes() == (100 << 30, 139 << 30)
    assert gpu.capability(tensorrt_build.device()) == (9, 0) and gpu.capability(DeviceInfo("x", "y", ("sm_120",))) == (
        12,
        0,
    )
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver(100))
    with pytest.raises(
        BackendUnavailable, match=r"no NVIDIA GPU \(its driver answers with CUDA error 100; look at nvidia"
    ):
        tensorrt_build.device()


def test_a_jetson_is_named_with_its_board(monkeypatch, tmp_path):
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver())
    board = tmp_path / "model"
    board.write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    monkeypatch.setattr(gpu, "BOARD", board)
    assert gpu.gpu().name == "NVIDIA H200 (NVIDIA Jetson Orin Nano Developer Kit)"
    board.write_bytes(b"Raspberry Pi 5\0")
    assert gpu.gpu().name == "NVIDIA H200" and gpu.board() == ""


@needs_no_gpu
def test_without_a_driver_there_is_no_gpu(monkeypatch):
    with pytest.raises(BackendUnavailable, match=r"^this machine has no NVIDIA GPU \(libcuda.*\)$"):
        tensorrt_build.device()
    monkeypatch.setattr(tensorrt_build, "library", lambda backend: None)
    with pytest.raises(BackendUnavailable, match=r"has no NVIDIA GPU \(libcuda.*\); build there: hgedge build --no-"):
        tensorrt_build.check("fp16", device.cpu())
