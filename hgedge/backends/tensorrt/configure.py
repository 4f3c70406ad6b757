"""A builder's configuration: a profile a batch size, memory, and what `EngineOptions` ask for."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from hgedge.backends.tensorrt.gpu import board, capability
from hgedge.backends.tensorrt.library import logger
from hgedge.errors import BackendUnavailable, ConfigError, ExportError
from hgedge.spec import DeviceInfo, EngineOptions

if TYPE_CHECKING:
    from hgedge.backends.tensorrt.network import ParsedNetwork

AMPERE = (8, 0)
MIB = 1 << 20


def check_tensorrt(options: EngineOptions, precision: str, trt: ModuleType, here: DeviceInfo) -> None:
    """Check that TensorRT on this GPU has what is asked for.

    Raises:
        ConfigError: It never has.
        BackendUnavailable: It has not here.
    """
    if options.gpu_capability:
        raise ConfigError(
            "--gpu-capability is tensorrt-rtx's; tensorrt builds for the GPU of this machine, leave it out"
        )
    if options.hardware_compatible and board():
        raise ConfigError(
            f"--hardware-compatible does not exist on a Jetson, and this is one ({board()}); build on each board"
        )
    if options.hardware_compatible and capability(here) < AMPERE:
        raise ConfigError(
            f"--hardware-compatible is for GPUs from Ampere (sm_80) on, but this machine has {here.name} "
            f"({', '.join(here.features)}); leave it out"
        )
    if options.dla is not None:
        _check_dla(options.dla, precision, trt, here)


def check_rtx(options: EngineOptions, trt: ModuleType) -> None:
    """Raise ConfigError for what TensorRT-RTX has not: its builder would fail, or say nothing and build without."""
    for option, asked, why in (
        ("version-compatible", options.version_compatible, "an engine runs on the very version that built it"),
        ("hardware-compatible", options.hardware_compatible, "an engine runs on all RTX GPUs from Ampere on as it is"),
        ("dla", options.dla is not None, "it has no DLA, only GPUs"),
    ):
        if asked:
            raise ConfigError(f"--{option} is tensorrt's; of tensorrt-rtx, {why}; leave it out")
    known = trt.ComputeCapability.__members__
    unknown = [number for number in options.gpu_capability if compute_capability(number) not in known]
    if unknown:
        numbers = sorted(int(name.removeprefix("SM")) for name in known if name.startswith("SM"))
        listed = ", ".join(f"{number // 10}.{number % 10}" for number in numbers)
        raise ConfigError(
            f"TensorRT-RTX {trt.__version__} builds for compute capabilities {listed}, not for {', '.join(unknown)}"
        )


def compute_capability(asked: str) -> str:
    """The name in the library's enum of "8.6" or "current"."""
    return "CURRENT" if asked == "current" else f"SM{asked.replace('.', '')}"


def configured(
    parsed: ParsedNetwork, batch: tuple[int, ...], options: EngineOptions, workspace_bytes: int | None, trt: ModuleType
) -> Any:
    """The configuration.

    Args:
        parsed: The network, with its builder.
        batch: Sizes; each gets a profile of its own, in ascending order.
        options: Of the engine.
        workspace_bytes: What a layer may use; None: what the library allows.
        trt: `tensorrt` or `tensorrt_rtx`.

    Raises:
        ExportError: The network does not take such batches.
    """
    config = parsed.builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 means FP32
    for name in (*parsed.builder_flags, *_flags(options, trt)):
        config.set_flag(getattr(trt.BuilderFlag, name))
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for `hgedge inspect`
    if workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.dla is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla
    if options.gpu_capability:
        config.num_compute_capabilities = len(options.gpu_capability)
        for index, asked in enumerate(options.gpu_capability):
            config.set_compute_capability(getattr(trt.ComputeCapability, compute_capability(asked)), index)
    _add_profiles(config, parsed, batch, trt)
    return config


def _flags(options: EngineOptions, trt: ModuleType) -> list[str]:
    """Builder flags. An engine that allocates nothing by itself is what RTX can capture into a CUDA graph."""
    asked = {
        "VERSION_COMPATIBLE": options.version_compatible,
        "GPU_FALLBACK": options.gpu_fallback,
        "REQUIRE_USER_ALLOCATION": hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"),
    }
    return [name for name, wanted in asked.items() if wanted]


def _add_profiles(config: Any, parsed: ParsedNetwork, batch: tuple[int, ...], trt: ModuleType) -> None:
    image = parsed.network.get_input(0)
    for size in sorted(set(batch)):
        shape = (size, *image.shape[1:])
        profile = parsed.builder.create_optimization_profile()
        profile.set_shape(image.name, shape, shape, shape)
        if image.shape[0] not in (-1, size) or config.add_optimization_profile(profile) < 0:
            raise ExportError(f"{trt.__name__} takes no batch of {size} for input {tuple(image.shape)}")


def _check_dla(core: int, precision: str, trt: ModuleType, here: DeviceInfo) -> None:
    if precision != "fp16":
        raise ConfigError(
            f"--dla is for --precision fp16: a DLA core has no FP32, and its INT8 knows no Q/DQ; but got {precision}"
        )
    cores = trt.Builder(logger(trt)).num_DLA_cores
    if core >= cores:
        raise BackendUnavailable(
            f"--dla {core} is not there: TensorRT {trt.__version__} finds {cores} DLA cores on {here.name} (Orin Nano "
            "and Thor have none; TensorRT 10.8 to 11.4.0 know none on a Jetson); leave --dla out"
        )
