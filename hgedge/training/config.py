"""What a training run is: one TOML file, read straight into these frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field

from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig
from hgedge.training.augment import Augmentation


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
        input_sizes: Side of the square input, one entry a phase; small pictures first train faster.
        phase_starts: Fraction of the run at which each phase starts; the first is 0.
        epochs: Passes over the training split.
        batch_size: Crops a step.
        learning_rate: AdamW's peak rate, reached after `warmup` and followed by a cosine to a hundredth.
        weight_decay: AdamW's decay.
        warmup: Fraction of the run.
        sigma: Standard deviation of target peaks in heatmap cells.
        peak_weight: See `hgedge.training.loss`.
        location_weight: See `hgedge.training.loss`.
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
    input_sizes: tuple[int, ...] = (256,)
    phase_starts: tuple[float, ...] = (0.0,)
    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.01
    warmup: float = 0.02
    sigma: float = 1.5
    peak_weight: float = 30.0
    location_weight: float = 1.0
    ema_decay: float = 0.998
    precision: str = "bf16"
    seed: int = 0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"precision must be bf16 or fp32, but got {self.precision!r}")
        starts = self.phase_starts
        if len(self.input_sizes) != len(starts) or not starts or starts[0] != 0 or list(starts) != sorted(starts):
            raise ConfigError(
                "input_sizes and phase_starts must be equally long, and phase_starts rise from 0, "
                f"but got {self.input_sizes} and {starts}"
            )
        for size in self.input_sizes:
            if size < 1 or size % self.model.input_multiple:
                raise ConfigError(f"input sizes must be multiples of {self.model.input_multiple}, but got {size}")
        for name in ("epochs", "batch_size", "learning_rate", "sigma"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, but got {getattr(self, name)}")

    def input_size(self, progress: float) -> int:
        """Side of the input at a fraction of the run."""
        phase = max(i for i, start in enumerate(self.phase_starts) if start <= progress)
        return self.input_sizes[phase]
