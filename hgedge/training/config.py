"""What a training run is: one TOML file, read straight into these frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.augment import Augmentation


@dataclass(frozen=True)
class Phase:
    """A part of a training run.

    Attributes:
        start: Fraction of the run at which it starts.
        input_size: Side of the square input in pixels; small pictures train faster.
        peak_weight: See `hgedge.training.loss`; a large one starts quickly, a small one makes scores tell right from
            wrong.
        location_weight: See `hgedge.training.loss`.
    """

    start: float = 0.0
    input_size: int = 256
    peak_weight: float = 30.0
    location_weight: float = 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        data: Folder of the data set.
        output: Folder for checkpoints, the log and the final weights.
        model: The network to train.
        augmentation: How crops vary.
        train_split: Split to learn from.
        val_split: Split to score after every epoch.
        phases: Input sizes and losses, in order; the last one's input size is the model's.
        epochs: Passes over the training split.
        batch_size: Crops a step.
        learning_rate: AdamW's peak rate, reached after `warmup` and followed by a cosine to a hundredth.
        weight_decay: AdamW's decay.
        warmup: Fraction of the run.
        sigma: Standard deviation of target peaks in heatmap cells.
        ema_decay: Decay a step of the averaged weights, which are those that are scored and kept.
        precision: "bf16" (autocast) or "fp32".
        seed: Seed of weights, order and crops.
        mean: RGB mean of the input, after division by 255.
        std: RGB standard deviation of the input, after division by 255.
    """

    data: str
    output: str
    model: HourglassConfig = field(default_factory=HourglassConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    train_split: str = "train"
    val_split: str = "val"
    phases: tuple[Phase, ...] = (Phase(),)
    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.01
    warmup: float = 0.02
    sigma: float = 1.5
    ema_decay: float = 0.998
    precision: str = "bf16"
    seed: int = 0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        self._check_phases()
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"precision must be bf16 or fp32, but got {self.precision!r}")
        for name in ("epochs", "batch_size", "learning_rate", "sigma"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be positive, but got {getattr(self, name)}")
        for name in ("weight_decay", "warmup", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1, but got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, but got {self.seed}")
        if not all(map(math.isfinite, self.mean)) or not all(0 < value < math.inf for value in self.std):
            raise ConfigError(f"mean must be finite and std positive, but they are {self.mean} and {self.std}")
        low, high = self.augmentation.scale
        if not 0 < low <= high < math.inf:
            raise ConfigError(f"scale must be two factors above 0, the smaller first, but is {(low, high)}")

    def _check_phases(self) -> None:
        starts = [phase.start for phase in self.phases]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ConfigError(f"the starts of phases must rise from 0, but are {starts}")
        for phase in self.phases:
            if phase.input_size < 1 or phase.input_size % self.model.input_multiple:
                raise ConfigError(
                    f"input sizes must be multiples of {self.model.input_multiple}, but got {phase.input_size}"
                )
            if not (0 <= phase.peak_weight < math.inf and 0 <= phase.location_weight < math.inf):
                raise ConfigError(f"weights of a phase must not be negative, but are in {phase}")

    def phase(self, progress: float) -> Phase:
        """The phase at a fraction of the run."""
        return [phase for phase in self.phases if phase.start <= progress][-1]
