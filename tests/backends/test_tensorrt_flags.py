"""What NVIDIA's builders are asked for beyond a precision: profiles, flags, memory; refused where they have it not."""

from __future__ import annotations

import dataclasses
import enum
import json
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge import backends, bundle, records
from hgedge.backends.tensorrt import build as tensorrt_build
from hgedge.backends.tensorrt import configure, fits
from hgedge.backends.tensorrt.build import build_engine
from hgedge.backends.tensorrt.configure import check_rtx, check_tensorrt, configured
from hgedge.backends.tensorrt.library import logger
from hgedge.backends.tensorrt.network import parse
from hgedge.builder import BuildOptions, build, options_of
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch, ExportError
from hgedge.models.zoo import shipped_half
from hgedge.spec import BackendInfo, DeviceInfo, EngineOptions

ORIN = DeviceInfo("Orin (NVIDIA Jetson AGX Orin)", "aarch64", ("sm_87",), "linux")
ADA = DeviceInfo("NVIDIA RTX 4090", "x86_64", ("sm_89",), "linux")
TURING = DeviceInfo("NVIDIA T4", "x86_64", ("sm_75",), "linux")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A graph that builds in no time: one convolution, (N, 3, 16, 16)."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 16, 16])
        for name, channels in (("image", 3), ("heatmaps", 4))
    ]
    node = helper.make_node("Conv", ["image", "weight"], ["heatmaps"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "small", ends[:1], ends[1:], [weight])
    path = tmp_path_factory.mktemp("small") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.tensorrt
def test_a_profile_a_size(rtx, small):
    parsed = parse(small, rtx)
    config = configured(parsed, (4, 1, 2, 4), EngineOptions(), None, rtx)
    assert config.num_optimization_profiles == 3
    assert config.profiling_verbosity == rtx.ProfilingVerbosity.DETAILED
    assert not config.get_flag(rtx.BuilderFlag.TF32)
    assert config.get_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)  # or its work cannot be captured
    assert tuple(parsed.network.get_output(0).shape)[1:] == (4, 16, 16)  # known without a batch size


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(),
        EngineOptions(workspace_mib=64),
        EngineOptions(gpu_capability=("7.5",)),
        EngineOptions(gpu_capability=("8.0", "8.6", "8.9", "12.0", "12.1"), workspace_mib=1 << 24),
    ],
    ids=lambda options: " ".join(options.arguments) or "default",
)
def test_engines_build_with_whatever_rtx_has(rtx, small, tmp_path, options):
    check_rtx(options, rtx)
    build_engine(small, tmp_path / "engine.plan", (1, 2, 4, 8, 16), rtx, options=options)
    plan = (tmp_path / "engine.plan").read_bytes()
    assert len(plan) > 10_000 and [path.name for path in tmp_path.iterdir()] == ["engine.plan"]


@pytest.mark.tensorrt
def test_the_builder_gets_what_was_asked_for(rtx, small):
    options = EngineOptions(workspace_mib=64, gpu_capability=("8.9", "8.6"))
    config = configured(parse(small, rtx), (1,), options, 64 << 20, rtx)
    assert config.get_memory_pool_limit(rtx.MemoryPoolType.WORKSPACE) == 64 << 20
    found = [config.get_compute_capability(index) for index in range(config.num_compute_capabilities)]
    assert found == [rtx.ComputeCapability.SM89, rtx.ComputeCapability.SM86]


@pytest.mark.tensorrt
def test_too_little_workspace_is_told_with_the_option(rtx, onnx_file, tmp_path):
    with pytest.raises(
        ExportError, match=r"within workspace limit.*; give it more with --workspace-mib, or leave that"
    ):
        build_engine(
            onnx_file("default", "fp16"), tmp_path / "engine.plan", (1,), rtx, options=EngineOptions(workspace_mib=1)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("told", "options", "kind", "said"),
    [
        (
            "Error Code 2: OutOfMemory",
            {},
            BackendUnavailable,
            "the GPU has 300 of 8192 MiB free: close other programs, or",
        ),
        ("CUDA driver version is insufficient", {}, BackendUnavailable, "update the NVIDIA driver"),
        ("no tactic within workspace limit", {}, ExportError, "give it more with --workspace-mib, or leave that out"),
        ("conv is not for DLA", {"dla": 0}, ExportError, "let the GPU run what the DLA core cannot: --gpu-fallback"),
        ("no kernel", {"dla": 0, "gpu_fallback": True}, ExportError, "no kernel; try --precision fp32"),
    ],
)
def test_what_to_do_where_the_builder_gives_no_engine(rtx, monkeypatch, told, options, kind, said):
    monkeypatch.setattr(tensorrt_build, "memory_bytes", lambda: (300 << 20, 8 << 30))
    monkeypatch.setattr(logger(rtx), "errors", [told])
    error = tensorrt_build._failure("model.onnx", rtx, EngineOptions(**options))
    assert isinstance(error, kind) and f"cannot build model.onnx: {told}; " in str(error) and said in str(error)


@pytest.mark.tensorrt
def test_a_fixed_batch_takes_no_other(rtx, small, tmp_path):
    model = onnx.load(small)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    build_engine(tmp_path / "fixed.onnx", tmp_path / "engine.plan", (1,), rtx)
    with pytest.raises(ExportError, match=r"takes no batch of 2 for input \(1, 3, 16, 16\)"):
        build_engine(tmp_path / "fixed.onnx", tmp_path / "engine.plan", (1, 2), rtx)


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"version_compatible": True},
            "of tensorrt-rtx, an engine runs on the very version that built it; leave it out",
        ),
        ({"hardware_compatible": True}, "of tensorrt-rtx, an engine runs on all RTX GPUs from Ampere on as it is"),
        ({"dla": 0}, "--dla is tensorrt's; of tensorrt-rtx, it has no DLA, only GPUs; leave it out"),
        ({"gpu_capability": ("9.0", "8.6")}, "capabilities 7.5, 8.0, 8.6, 8.9, 12.0, 12.1, not for 9.0"),
        ({"gpu_capability": ("8.6", "current")}, "or current alone, but got '8.6,current'"),
        ({"gpu_fallback": True}, "no core is named; add dla, or leave it out"),
        ({"workspace_mib": 0}, "workspace_mib must be 1 to 16777216, but got 0"),
        ({"backend": "openvino", "dla": 0}, "backend openvino has no --dla, which is for NVIDIA's engines"),
        ({"engine": False, "dla": 0}, "--dla is of an engine, but --no-engine makes none"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(rtx, tmp_path, asked, said):
    with pytest.raises(ConfigError) as caught:
        build(BuildOptions(**{"precision": "fp16", "backend": "tensorrt-rtx", "output": tmp_path, **asked}))
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorrt
def test_the_current_gpu_where_there_is_none(rtx, hgedge, tmp_path):
    if backends.why_not_here("tensorrt-rtx") is None:
        pytest.skip("this machine has an NVIDIA GPU")
    done = hgedge("build", "--backend", "tensorrt-rtx", "--precision", "fp16", "--gpu-capability", "current")
    assert done.returncode == 3 and "this machine has no NVIDIA GPU (libcuda.so.1: " in done.stderr
    assert "; name it, as --gpu-capability 8.6" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.tensorrt
def test_options_are_in_name_manifest_and_digest(rtx, hgedge, tmp_path):
    flags = ("--gpu-capability", "8.6, 8.9", "--workspace-mib", "512")
    report = json.loads(hgedge("build", "--backend", "tensorrt-rtx", "--precision", "fp16", *flags, "--json").stdout)
    folder = tmp_path / report["bundle"]
    assert folder.name == "default-fp16-tensorrt-rtx-workspace-mib-512-gpu-capability-8.6-8.9"
    manifest = bundle.open_bundle(folder)
    assert manifest.engine_options == EngineOptions(workspace_mib=512, gpu_capability=("8.6", "8.9"))
    assert manifest.device.features == ("sm_86", "sm_89") and manifest.device.name.endswith("8.6, 8.9")
    rebuild = bundle.rebuild(manifest, folder)
    assert "--backend tensorrt-rtx --workspace-mib 512 --gpu-capability 8.6,8.9" in rebuild
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'precision = "fp16"\nbackend = "tensorrt-rtx"\nworkspace_mib = 512\ngpu_capability = ["8.6", "8.9"]\n'
    )
    again = options_of({"model": str(recipe), "output": folder.parent})
    assert build(again).reused and build(again).bundle == folder
    folder.rename(folder.with_name(folder.name.replace("8.6-8.9", "8.9-8.6")))
    other = dataclasses.replace(again, gpu_capability=("8.9", "8.6"))
    with pytest.raises(ConfigError, match="holds a bundle built from other weights, ranges, options or versions"):
        build(other)


def test_a_recipe_holds_the_same_options():
    asked = {"workspace_mib": 64, "dla": 1, "gpu_fallback": True, "version_compatible": True}
    options = options_of(asked)
    assert options.engine_options == EngineOptions(**asked)
    assert options.engine_options.arguments == (
        "--workspace-mib", "64", "--version-compatible", "--dla", "1", "--gpu-fallback"
    )  # fmt: skip
    assert EngineOptions().arguments == ()
    read = records.from_mapping(BuildOptions, {"model": "hg1", **asked}, "recipe.toml")
    assert read.engine_options == options.engine_options
    with pytest.raises(ConfigError, match="unknown key 'version_compatibel'; did you mean 'version_compatible'"):
        records.from_mapping(BuildOptions, {"version_compatibel": True}, "recipe.toml")


def library_of(cores):
    """What `check_tensorrt` asks of TensorRT's module: how many DLA cores its builder finds."""

    class ILogger: ...

    trt = ModuleType("tensorrt")
    trt.ILogger, trt.__version__ = ILogger, "10.3.0"
    trt.Builder = lambda log: SimpleNamespace(num_DLA_cores=cores)
    return trt


@pytest.mark.parametrize(
    ("options", "precision", "here", "kind", "said"),
    [
        (EngineOptions(gpu_capability=("8.6",)), "fp16", ADA, ConfigError, "--gpu-capability is tensorrt-rtx's"),
        (EngineOptions(hardware_compatible=True), "fp16", ORIN, ConfigError, "not exist on a Jetson, and this is one"),
        (EngineOptions(hardware_compatible=True), "fp16", TURING, ConfigError, "has NVIDIA T4 .sm_75.; leave it out"),
        (EngineOptions(dla=0), "int8", ORIN, ConfigError, "for --precision fp16: .* knows no Q/DQ; but got int8"),
        (EngineOptions(dla=2), "fp16", ORIN, BackendUnavailable, "--dla 2 is not there: TensorRT 10.3.0 finds 2 DLA"),
    ],
)
def test_what_tensorrt_has_not_here(monkeypatch, options, precision, here, kind, said):
    monkeypatch.setattr(configure, "board", lambda: "NVIDIA Jetson AGX Orin" if here is ORIN else "")
    with pytest.raises(kind, match=said):
        check_tensorrt(options, precision, library_of(2), here)


def test_what_tensorrt_has_here(monkeypatch):
    monkeypatch.setattr(configure, "board", lambda: "NVIDIA Jetson AGX Orin")
    check_tensorrt(EngineOptions(dla=1, gpu_fallback=True, version_compatible=True), "fp16", library_of(2), ORIN)
    monkeypatch.setattr(configure, "board", lambda: "")
    check_tensorrt(EngineOptions(hardware_compatible=True), "int8", library_of(0), ADA)


class Config(SimpleNamespace):
    """A builder's configuration that notes what it is told."""

    def __init__(self):
        super().__init__(flags=[], pools={}, profiles=[])

    def set_flag(self, flag):
        self.flags.append(flag.name)

    def clear_flag(self, flag):
        assert flag.name == "TF32"

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool.name] = size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class Profile:
    def set_shape(self, name, *shapes):
        self.shapes = (name, *shapes)


def test_tensorrt_gets_its_flags_too():
    """With a stand-in of NVIDIA's module, as no TensorRT is at hand that has them; RTX's real one is asked above."""
    names = ["TF32", "VERSION_COMPATIBLE", "GPU_FALLBACK", "FP16"]
    trt = SimpleNamespace(
        __name__="tensorrt",
        BuilderFlag=enum.IntEnum("BuilderFlag", names),
        ProfilingVerbosity=enum.Enum("ProfilingVerbosity", ["DETAILED"]),
        MemoryPoolType=enum.Enum("MemoryPoolType", ["WORKSPACE"]),
        HardwareCompatibilityLevel=enum.Enum("HardwareCompatibilityLevel", ["AMPERE_PLUS"]),
        DeviceType=enum.Enum("DeviceType", ["GPU", "DLA"]),
    )
    builder = SimpleNamespace(create_builder_config=Config, create_optimization_profile=Profile)
    image = SimpleNamespace(name="image", shape=(-1, 3, 64, 64))
    network = SimpleNamespace(get_input=lambda index: image)
    parsed = SimpleNamespace(builder=builder, network=network, builder_flags=("FP16",))
    options = EngineOptions(version_compatible=True, hardware_compatible=True, dla=1, gpu_fallback=True)
    config = configured(parsed, (2, 1), options, 1 << 30, trt)
    assert config.flags == ["FP16", "VERSION_COMPATIBLE", "GPU_FALLBACK"] and config.pools == {"WORKSPACE": 1 << 30}
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 1)
    assert config.profiles == [("image", *[(size, 3, 64, 64)] * 3) for size in (1, 2)]


def manifest(device=ADA, version="10.3.0", backend="tensorrt", **options):
    """Of a bundle with an engine."""
    made = bundle.read_manifest(shipped_half("default"))
    return dataclasses.replace(
        made, backend=BackendInfo(backend, version), device=device, engine_options=EngineOptions(**options)
    )


@pytest.mark.parametrize(
    ("here", "version", "options"),
    [
        (ADA, "10.3.0", {}),
        (dataclasses.replace(ADA, name="NVIDIA A10", features=("sm_86",)), "10.3.0", {"hardware_compatible": True}),
        (ADA, "10.16.1.11", {"version_compatible": True}),
        (ADA, "11.4.1", {"version_compatible": True}),
    ],
)
def test_engines_that_fit(tmp_path, here, version, options):
    fits.check_fits(tmp_path, manifest(**options), here, version)


@pytest.mark.parametrize(
    ("here", "version", "options", "said"),
    [
        (TURING, "10.3.0", {}, r"built for NVIDIA RTX 4090 \(sm_89, linux, x86_64\), but .* NVIDIA T4 \(sm_75, linux"),
        (dataclasses.replace(ADA, name="NVIDIA RTX 4080"), "10.3.0", {}, "but this machine has NVIDIA RTX 4080"),
        (dataclasses.replace(ADA, system="windows"), "10.3.0", {}, "sm_89, windows, x86_64"),
        (TURING, "10.3.0", {"hardware_compatible": True}, "but this machine has NVIDIA T4"),
        (ADA, "10.3.1", {}, r"built for tensorrt 10\.3\.0, but this machine has 10\.3\.1; rebuild: hgedge build "),
        (
            ADA,
            "10.2.0",
            {"version_compatible": True},
            "tensorrt 10.3.0, but this machine has 10.2.0; .* --version-comp",
        ),
        (ADA, "12.0.0", {"version_compatible": True}, "but this machine has 12.0.0"),
    ],
)
def test_engines_that_do_not_fit(tmp_path, here, version, options, said):
    with pytest.raises(EngineMismatch, match=said):
        fits.check_fits(tmp_path, manifest(**options), here, version)


def test_which_versions_run_which_engines(tmp_path):
    """NVIDIA's support matrix: 8 runs on 10, 10 on 11, and 8 not on 11."""
    found = {}
    for built in ("8.5.3", "8.6.2", "10.3.0"):
        for here in ("8.6.2", "10.3.0", "11.4.1"):
            try:
                fits.check_fits(tmp_path, manifest(version=built, version_compatible=True), ADA, here)
            except EngineMismatch:
                continue
            found.setdefault(built, []).append(here)
    assert found == {"8.6.2": ["8.6.2", "10.3.0"], "10.3.0": ["10.3.0", "11.4.1"]}


def test_rtx_says_itself_which_gpus_an_engine_runs_on(tmp_path):
    built = DeviceInfo("NVIDIA RTX GPU, Ampere or newer", "x86_64", ("sm_86", "sm_89", "sm_120"), "linux")
    made = manifest(device=built, version="1.7.1.116", backend="tensorrt-rtx")
    fits.check_fits(tmp_path, made, ADA, "1.7.1.116", portable=True)
    with pytest.raises(EngineMismatch, match="built for tensorrt-rtx 1.7.1.116, but this machine has 1.8.0"):
        fits.check_fits(tmp_path, made, ADA, "1.8.0", portable=True)
    with pytest.raises(EngineMismatch, match="this machine has Orin .NVIDIA Jetson AGX Orin. .sm_87, linux, aarch64"):
        fits.check_fits(tmp_path, made, ORIN, "1.7.1.116", portable=True)
