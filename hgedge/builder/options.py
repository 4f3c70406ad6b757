"""What to build, and what was built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hgedge import records
from hgedge.errors import ConfigError
from hgedge.quantization.methods import method_named
from hgedge.spec import PRECISIONS, REFINEMENTS, BudgetInfo, EngineOptions

PLACEMENTS = ("stream", "conv")
MAX_BATCH = 1024
ONNX_ONLY = ("keypoints", "mean", "std", "color", "heatmaps")  # what checkpoints and bundles say themselves


@dataclass(frozen=True)
class BuildOptions(EngineOptions):
    """What `hgedge build` is asked for; a recipe TOML holds the same fields, those of `EngineOptions` too.

    Attributes:
        model: A zoo name, a checkpoint, an ONNX file, a bundle, or a recipe; None is the shipped default.
        precision: "fp32", "fp16", "bf16" or "int8".
        backend: A backend's name, or "auto".
        calibration: A range table (JSON), a recipe (TOML), or a folder of pictures.
        calibration_images: Pictures to take from a folder.
        data: Folder of the data set that a calibration recipe names, and whose people INT8's drop is measured on.
        max_drop: Points at the loose threshold that the engine may lose; None: 1 where INT8 is given `data` for this.
        placement: Which tensors are quantised: "stream" or "conv"; None: as in the bundle that it is built from, else
            "stream".
        float_groups: Groups of convolutions that stay float in INT8; None: as in the bundle that it is built from, else
            none.
        num_stacks: Keep this many stacks; all by default.
        input_hw: Height and width of the input, where not the model's own.
        refinement: The step from a peak's cell, "quarter" or "dark" (`hgedge.spec.DecodeSpec`); None: the model's own.
        keypoints: Of an ONNX file: a known set's name, or a TOML file with a set; none: as many as there are, numbered.
        mean: Of an ONNX file: one, or one a channel, after division by 255; 0 by default.
        std: Of an ONNX file: likewise; 1 by default.
        color: Of an ONNX file: "rgb", "bgr" or "gray"; by default rgb, or gray where there is one channel.
        heatmaps: Of an ONNX file: the output that gives them; found by its shape by default.
        batch: Batch sizes that the engine is prepared for.
        engine: False makes the portable half alone.
        output: The folder that the bundle is put into.
        force: Replace a bundle of the same name.
    """

    model: str | None = None
    precision: str = "int8"
    backend: str = "auto"
    calibration: Path | None = None
    calibration_images: int = 128
    calibration_method: str | None = None
    data: Path | None = None
    max_drop: float | None = None
    placement: str | None = None
    float_groups: tuple[str, ...] | None = None
    num_stacks: int | None = None
    input_hw: tuple[int, int] | None = None
    refinement: str | None = None
    keypoints: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color: str | None = None
    heatmaps: str | None = None
    batch: tuple[int, ...] = (1,)
    engine: bool = True
    output: Path = Path("engines")
    force: bool = False

    @property
    def engine_options(self) -> EngineOptions:
        """What NVIDIA's builders are asked for."""
        return EngineOptions(
            **{option.name: getattr(self, option.name) for option in dataclasses.fields(EngineOptions)}
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, but got {self.precision!r}")
        if self.placement not in (None, *PLACEMENTS):
            raise ConfigError(f"placement must be one of {', '.join(PLACEMENTS)}, but got {self.placement!r}")
        if self.refinement not in (None, *REFINEMENTS):
            raise ConfigError(f"refinement must be one of {', '.join(REFINEMENTS)}, but got {self.refinement!r}")
        if self.float_groups and self.precision != "int8":
            raise ConfigError(f"float_groups are of INT8, but precision is {self.precision!r}; leave them out")
        if self.max_drop is not None and not 0 < self.max_drop <= 100:
            raise ConfigError(f"max_drop must be points above 0, at most 100, but got {self.max_drop:g}")
        if self.num_stacks is not None and self.num_stacks < 1:
            raise ConfigError(f"num_stacks must be at least 1, but got {self.num_stacks}")
        if not self.batch or not all(1 <= size <= MAX_BATCH for size in self.batch):
            raise ConfigError(f"batch must be positive sizes such as 1,2,4, at most {MAX_BATCH}, but got {self.batch}")
        if self.calibration_method is not None:
            method_named(self.calibration_method)
        if self.calibration_images < 1:
            raise ConfigError(f"calibration_images must be at least 1, but got {self.calibration_images}")
        if self.model == "":
            raise ConfigError("model must be a name, file or folder, but is empty; leave it out for the default")
        if self.input_hw is not None and (len(self.input_hw) != 2 or min(self.input_hw) < 1):
            raise ConfigError(f"input must be HEIGHTxWIDTH in pixels, but got {self.input_hw}")


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        bundle: The bundle's folder.
        precision: Of the engine.
        backend: Of the engine, or "none" for a portable half.
        seconds: export, calibrate, quantize, build and total.
        num_convs: Convolutions of the graph.
        num_convs_int8: Those that are quantised.
        agreement: Mean and 99th percentile of the distance to FP32 keypoints on the golden inputs, in input pixels.
        simulated_agreement: The same of FP16 arithmetic, simulated; of FP16 engines, where ONNX Runtime is installed.
        kept_fp32: Layers in FP32 where the rest is FP16, each by the tensor that it makes; None: nothing is FP16.
        drop: Points lost per metric, where it was measured.
        budget: On whom, and how sure it is (`hgedge.spec.BudgetInfo`).
        tried: What the search for the engine measured, in order; the last is the verdict.
        reused: The bundle was there already.
    """

    bundle: Path
    precision: str
    backend: str
    seconds: dict[str, float]
    num_convs: int
    num_convs_int8: int
    agreement: dict[str, float] | None
    simulated_agreement: dict[str, float] | None = None
    kept_fp32: tuple[str, ...] | None = None
    drop: dict[str, float] | None = None
    budget: BudgetInfo | None = None
    tried: tuple[dict[str, Any], ...] | None = None
    reused: bool = False


def options_of(asked: Mapping[str, Any]) -> BuildOptions:
    """The options of a build: what was asked for, over a recipe's where the model is one, over the defaults.

    Args:
        asked: Fields of `BuildOptions`, in their types.

    Raises:
        ConfigError: A value is wrong, or the recipe cannot be read or names another recipe.
    """
    options = BuildOptions(**asked)
    if options.model is None or not options.model.endswith(".toml"):
        return options
    recipe = records.from_toml(BuildOptions, Path(options.model))
    if recipe.model is not None and recipe.model.endswith(".toml"):
        raise ConfigError(f"{options.model} names another recipe as its model: {recipe.model}")
    return dataclasses.replace(recipe, **{name: value for name, value in asked.items() if name != "model"})
