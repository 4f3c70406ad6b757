"""What a network expects, where it runs, and what was built."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from dataclasses import dataclass, field
from typing import Any

from hgedge import records
from hgedge.errors import ConfigError, EngineMismatch
from hgedge.pose import KeypointSet

FORMAT_VERSION = 1
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
COLORS = ("rgb", "bgr", "gray")
MAX_WORKSPACE_MIB = 1 << 24
FAR = 1e6  # beyond it float32 has no room for what follows
MAX_SIDE = 4096  # pixels; one stack of a larger input fills gigabytes
CONVENTIONS = ("centers",)
REFINEMENTS = ("quarter", "dark")


@dataclass(frozen=True)
class InputSpec:
    """What a network takes: normalised = (pixel / 255 - mean) / std, per channel in the order of `color`.

    Attributes:
        hw: Height and width in pixels.
        color: "rgb", "bgr" or "gray".
        mean: One a channel, after division by 255.
        std: One a channel, after division by 255.
        layout: Always "NCHW".
    """

    hw: tuple[int, int] = (256, 256)
    color: str = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        if len(self.hw) != 2 or not all(1 <= size <= MAX_SIDE for size in self.hw):
            raise ConfigError(f"hw must be height and width in pixels, at most {MAX_SIDE}, but got {self.hw}")
        if self.color not in COLORS:
            raise ConfigError(f"color must be one of {', '.join(COLORS)}, but got {self.color!r}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError(f"{self.color} needs {self.channels} values of mean and std, got {self.mean}, {self.std}")
        if not all(abs(value) < FAR for value in self.mean) or not all(1 / FAR < value < FAR for value in self.std):
            raise ConfigError(
                f"mean and std are of pixels divided by 255, std above 0, but got {self.mean} and {self.std}"
            )
        if self.layout != "NCHW":
            raise ConfigError(f"layout must be NCHW, but got {self.layout!r}")

    @property
    def channels(self) -> int:
        """Colour channels of the input."""
        return 1 if self.color == "gray" else 3


@dataclass(frozen=True)
class DecodeSpec:
    """How heatmaps become keypoints.

    Attributes:
        stride: Input pixels a heatmap cell.
        shift: Cells that a peak moves towards the higher neighbour.
        convention: "centers": cell i lies at (i + 0.5) * stride - 0.5.
        refinement: "quarter": by `shift`; "dark": by a Newton step instead (`hgedge.runtime.decode`).
    """

    stride: float = 4.0
    shift: float = 0.25
    convention: str = "centers"
    refinement: str = "quarter"

    def __post_init__(self) -> None:
        if not 0 < self.stride <= MAX_SIDE or not 0 <= self.shift <= 1 or self.convention not in CONVENTIONS:
            raise ConfigError(
                f"decode must have a positive stride, a shift of 0 to 1 cells and one of the conventions "
                f"{', '.join(CONVENTIONS)}, but got {self}"
            )
        if self.refinement not in REFINEMENTS:
            raise ConfigError(f"refinement must be one of {', '.join(REFINEMENTS)}, but got {self.refinement!r}")


@dataclass(frozen=True)
class ModelInfo:
    """The network that a bundle was made from; `sha256` is over its weights, `gmacs` for one crop."""

    name: str
    sha256: str
    num_stacks: int
    parameters: int
    gmacs: float


@dataclass(frozen=True)
class BackendInfo:
    """The library that runs the engine."""

    name: str
    version: str


@dataclass(frozen=True)
class DeviceInfo:
    """The processor that an engine was built for.

    Attributes:
        name: As the system calls it.
        architecture: "x86_64", "aarch64".
        features: CPU flags that engines depend on, or ("sm_87",).
        system: "linux", "windows", "darwin".
    """

    name: str
    architecture: str
    features: tuple[str, ...] = ()
    system: str = platform.system().lower()


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What NVIDIA's builders are asked for beyond a precision and batch sizes.

    Attributes:
        workspace_mib: Device memory that a layer may use beside its tensors, in MiB; None: most of what is free.
        version_compatible: Later versions of TensorRT are to run the engine too.
        hardware_compatible: Other GPUs, from Ampere on, are to run the engine too.
        dla: The DLA core that runs the engine; None: the GPU does.
        gpu_fallback: The GPU may run what a DLA core cannot.
        gpu_capability: Compute capabilities that it is for, such as "8.6", or "current"; none: the library's own.
    """

    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla: int | None = None
    gpu_fallback: bool = False
    gpu_capability: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workspace_mib is not None and not 1 <= self.workspace_mib <= MAX_WORKSPACE_MIB:
            raise ConfigError(f"workspace_mib must be 1 to {MAX_WORKSPACE_MIB}, but got {self.workspace_mib}")
        if self.dla is not None and self.dla < 0:
            raise ConfigError(f"dla must be the number of a DLA core, from 0, but got {self.dla}")
        if self.gpu_fallback and self.dla is None:
            raise ConfigError(
                "gpu_fallback is for what a DLA core cannot run, but no core is named; add dla, or leave it out"
            )
        named = all(re.fullmatch(r"\d{1,2}\.\d", item) for item in self.gpu_capability)
        if not named and self.gpu_capability != ("current",):
            raise ConfigError(
                "gpu_capability must be compute capabilities such as 8.6,8.9, or current alone, "
                f"but got {','.join(self.gpu_capability)!r}"
            )

    @property
    def arguments(self) -> tuple[str, ...]:
        """What is not default, as words of the command line."""
        words: list[str] = []
        for option in dataclasses.fields(EngineOptions):
            value = getattr(self, option.name)
            if value != option.default:
                words.append(f"--{option.name.replace('_', '-')}")
                words += [] if value is True else [",".join(value) if isinstance(value, tuple) else str(value)]
        return tuple(words)


@dataclass(frozen=True)
class CalibrationInfo:
    """Where the activation ranges of an INT8 engine come from, and what is quantised with them.

    Attributes:
        float_groups: Groups of convolutions (`hgedge.quantization.groups`) that stay float.
    """

    method: str
    images: int
    digest: str
    placement: str
    float_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class BudgetInfo:
    """On whom an engine's `accuracy` and `drop` were measured, against FP32 on the same backend, and how sure they are.

    Attributes:
        metric: What the budget is counted in.
        max_drop: Points of it that the engine may lose.
        intervals: Metric -> `low` and `high`, the drop's 95 % interval (paired bootstrap over people).
        smallest_provable: The least budget that so many people can prove, in points.
        data: Name of the data set.
        split: Its split.
        half: "confirm", the half of the people on whom nothing was chosen; "all" where there was nothing to choose.
        people: How many they are.
    """

    metric: str
    max_drop: float
    intervals: dict[str, dict[str, float]]
    smallest_provable: float
    data: str
    split: str
    half: str
    people: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle is. `digest` is over everything that decided how it was built; `files` holds the sha256 of each.

    Attributes:
        simulated_agreement: What `agreement` would be in FP16 arithmetic, simulated; None: not FP16, or not simulated.
        kept_fp32: Layers in FP32 where the rest is FP16, each by the tensor that it makes; None: nothing is FP16.
    """

    hgedge_version: str
    measured: bool
    model: ModelInfo
    precision: str
    backend: BackendInfo | None
    device: DeviceInfo | None
    input: InputSpec
    keypoints: KeypointSet
    decode: DecodeSpec
    digest: str
    num_convs: int
    num_convs_int8: int
    calibration: CalibrationInfo | None = None
    agreement: dict[str, float] | None = None
    simulated_agreement: dict[str, float] | None = None
    kept_fp32: tuple[str, ...] | None = None
    accuracy: dict[str, float] | None = None
    drop: dict[str, float] | None = None
    budget: BudgetInfo | None = None
    batch: tuple[int, ...] = (1,)
    engine_options: EngineOptions = field(default_factory=EngineOptions)
    files: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, but got {self.precision!r}")
        if not self.batch or min(self.batch) < 1:
            raise ConfigError(f"batch must be positive sizes, but got {self.batch}")

    def to_json(self) -> str:
        """The manifest as indented JSON."""
        return json.dumps(records.to_mapping(self), indent=2, ensure_ascii=False) + "\n"


def manifest_from_json(text: str, where: str) -> Manifest:
    """Read a manifest.

    Args:
        text: The JSON.
        where: What error messages call it.

    Raises:
        EngineMismatch: It is no manifest, or one of a newer format.
    """
    try:
        mapping: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineMismatch(
            f"{where} is not JSON ({error}); rebuild the bundle with hgedge build MODEL --force"
        ) from None
    version = mapping.get("format_version") if isinstance(mapping, dict) else None
    if type(version) is not int or version < 1:
        raise EngineMismatch(f"{where} has no format_version, so it is no manifest of hgedge; rebuild the bundle")
    if version > FORMAT_VERSION:
        raise EngineMismatch(
            f"{where} has format {version}, but this hgedge reads up to {FORMAT_VERSION}; upgrade hgedge or rebuild"
        )
    try:
        return records.from_mapping(Manifest, mapping, where)
    except ConfigError as error:
        raise EngineMismatch(f"{error}; rebuild the bundle with hgedge build MODEL --force") from None
