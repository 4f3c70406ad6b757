"""What a training run is: one TOML file, read straight into these frozen dataclasses."""

from __future__ import annotations

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
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"precision must be bf16 or fp32, but got {self.precision!r}")
        starts = [phase.start for phase in self.phases]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ConfigError(f"the starts of phases must rise from 0, but are {starts}")
        for phase in self.phases:
            if phase.input_size < 1 or phase.input_size % self.model.input_multiple:
                raise ConfigError(
                    f"input sizes must be multiples of {self.model.input_multiple}, but got {phase.input_size}"
                )
        for name in ("epochs", "batch_size", "learning_rate", "sigma"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, but got {getattr(self, name)}")

    def phase(self, progress: float) -> Phase:
        """The phase at a fraction of the run."""
        return [phase for phase in self.phases if phase.start <= progress][-1]
