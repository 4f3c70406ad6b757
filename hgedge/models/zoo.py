"""The sizes of the stacked hourglass that have names, and the files that come with them; none of this needs PyTorch.

hg1, hg2 and hg8 are the published networks for MPII (256 features, 16 keypoints); `default` is the one whose weights
and calibration ranges come with hgedge.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.models.hourglass import HourglassConfig

DEFAULT = "default"
FOLDER = Path(__file__).parent  # <name>/weights.safetensors, <name>/calibration.json
SIZES = {
    DEFAULT: {"num_stacks": 2, "num_features": 128, "num_keypoints": 14},
    "hg1": {"num_stacks": 1, "num_features": 256, "num_keypoints": 16},
    "hg2": {"num_stacks": 2, "num_features": 256, "num_keypoints": 16},
    "hg8": {"num_stacks": 8, "num_features": 256, "num_keypoints": 16},
}


def zoo_names() -> tuple[str, ...]:
    """All names, the default first."""
    return tuple(SIZES)


def config_of(name: str) -> HourglassConfig:
    """The shape of a named network.

    Raises:
        ConfigError: No network has this name.
    """
    from hgedge.models.hourglass import HourglassConfig

    if name not in SIZES:
        raise ConfigError(f"unknown model {name!r}; known: {', '.join(SIZES)}")
    sizes = SIZES[name]
    return HourglassConfig(
        num_stacks=sizes["num_stacks"], num_features=sizes["num_features"], num_keypoints=sizes["num_keypoints"]
    )


def shipped_weights(name: str) -> Path | None:
    """The weights file that comes with hgedge for this name, or None."""
    return _shipped(name, "weights.safetensors")


def shipped_ranges(name: str) -> Path | None:
    """The calibration range table that comes with hgedge for this name, or None."""
    return _shipped(name, "calibration.json")


def _shipped(name: str, file: str) -> Path | None:
    path = FOLDER / name / file
    return path if name in SIZES and path.is_file() else None
