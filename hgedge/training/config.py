"""What a training run is: one TOML file, read straight into these frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig
from hgedge.models.zoo import DEFAULT, FOLDER
from hgedge.spec import InputSpec
from hgedge.training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"
CHOICES = {
    "optimizer": ("adamw", "rmsprop"),
    "schedule": ("cosine", "plateau"),
    "color": ("rgb", "gray"),
    "batch_norm": ("batch", "frozen"),
    "device": ("auto", "cpu", "cuda"),
}
STATISTICS = {"rgb": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "gray": ((0.45,), (0.226,))}  # ImageNet's


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
        output: Folder for checkpoints, the log, the curve, predictions and the weights.
        model: The network to train.
        augmentation: How crops vary.
        train_split: Split to learn from.
        val_split: Split to score after every epoch.
        val_data: Folder of `val_split` where it is another one, such as MPII's with head boxes.
        phases: Input sizes and losses, in order; the last one's input size is the model's.
        epochs: Passes over the training split.
        batch_size: Crops a step, of all processes together.
        accumulate: Steps whose gradients make one step of the optimiser.
        optimizer: "adamw", or the paper's "rmsprop".
        learning_rate: The peak rate, reached after `warmup`.
        weight_decay: Of the weights; biases and BatchNorm have none.
        schedule: "cosine" falls to a hundredth of the peak; "plateau" divides by 5 after `patience` epochs of no gain.
        patience: Of "plateau".
        warmup: Fraction of the run.
        clip_norm: Largest norm of the gradients; 0 leaves them as they are.
        sigma: Standard deviation of target peaks in heatmap cells.
        ema_decay: Decay a step of the averaged weights, which are those that are scored and kept.
        early_stopping: Epochs without gain in the last phase that end the run; 0 for never.
        batch_norm: "batch"; or "frozen", which neither uses nor learns statistics of batches.
        precision: "bf16" (autocast, on processors that have it) or "fp32".
        device: "auto" takes a GPU where there is one; or "cpu" or "cuda".
        seed: Seed of weights, order and crops.
        color: "rgb" or "gray".
        mean: Of the input, one a channel, after division by 255; ImageNet's by default.
        std: As `mean`.
        start_from: A checkpoint or a name of the zoo whose weights to start from, instead of random ones; where it
            predicts other keypoints, the layers that make or read maps start anew.
        teacher: A checkpoint or a name of the zoo to learn from as well.
        teacher_weight: The teacher's share of the loss.
        workers: Threads that prepare crops; results do not depend on it.
        memory_gb: Decoded pictures to keep, for each process; others are decoded every time.
    """

    data: str
    output: str
    model: HourglassConfig = field(default_factory=HourglassConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    train_split: str = "train"
    val_split: str = "val"
    val_data: str | None = None
    phases: tuple[Phase, ...] = (Phase(),)
    epochs: int = 100
    batch_size: int = 16
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.01
    schedule: str = "cosine"
    patience: int = 5
    warmup: float = 0.02
    clip_norm: float = 5.0
    sigma: float = 1.5
    ema_decay: float = 0.998
    early_stopping: int = 0
    batch_norm: str = "batch"
    precision: str = "bf16"
    device: str = "auto"
    seed: int = 0
    color: str = "rgb"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    start_from: str | None = None
    teacher: str | None = None
    teacher_weight: float = 0.5
    workers: int = 2
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        self._check_phases()
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"precision must be bf16 or fp32, but got {self.precision!r}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}")
        self._check_numbers()
        self._check_input()

    @property
    def input(self) -> InputSpec:
        """What the network takes once it is trained."""
        mean, std = STATISTICS[self.color]
        size = self.phases[-1].input_size
        return InputSpec((size, size), self.color, self.mean or mean, self.std or std)

    def phase_at(self, epoch: int) -> int:
        """Which of `phases` an epoch, counted from 0, belongs to."""
        return sum(phase.start <= epoch / self.epochs for phase in self.phases) - 1

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

    def _check_numbers(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "learning_rate", "patience", "sigma", "workers"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be positive, but got {getattr(self, name)}")
        for name in ("weight_decay", "warmup", "ema_decay", "teacher_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0 to 1, but got {getattr(self, name)}")
        for name in ("clip_norm", "early_stopping", "seed", "memory_gb"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must not be negative, but got {getattr(self, name)}")
        low, high = self.augmentation.scale
        if not 0 < low <= high < math.inf:
            raise ConfigError(f"scale must be two factors above 0, the smaller first, but is {(low, high)}")

    def _check_input(self) -> None:
        mean, std = self.mean or (), self.std or ()
        if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in std):
            raise ConfigError(f"mean must be finite and std positive, but they are {mean} and {std}")
        if self.input.channels != self.model.in_channels:
            raise ConfigError(
                f"color {self.color!r} has {self.input.channels} channels, but model.in_channels is "
                f"{self.model.in_channels}; set it to {self.input.channels}"
            )


def recipe_path(config: Path) -> Path:
    """The file that a user means: one that is there, or the name of a recipe that comes with hgedge.

    Raises:
        ConfigError: It looks like a name, but no recipe is called so.
    """
    recipes = {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}
    recipes[DEFAULT] = FOLDER / DEFAULT / "training.toml"
    name = str(config)
    if config.suffix or config.exists() or config.name != name:
        return config
    if name not in recipes:
        raise ConfigError(f"no recipe is called {name!r}; give a TOML file, or one of: {', '.join(sorted(recipes))}")
    return recipes[name]
