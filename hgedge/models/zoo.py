"""The sizes of the stacked hourglass that have names, and where their files are; none of this needs PyTorch.

`default` (bodies) and `face68` (faces) come with hgedge: weights, calibration ranges and portable half. hg1, hg2 and
hg8 are the published networks for MPII (256 features, 16 keypoints), whose weights `hgedge.models.pull` fetches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.cache import cache_folder
from hgedge.errors import ConfigError

if TYPE_CHECKING:
    from hgedge.models.hourglass import HourglassConfig

DEFAULT = "default"
FOLDER = Path(__file__).parent  # <name>/weights.safetensors, <name>/portable/: half of a bundle
SIZES = {
    DEFAULT: {"num_stacks": 2, "num_features": 128, "num_keypoints": 14},
    "face68": {"num_stacks": 2, "num_features": 64, "num_keypoints": 68, "in_channels": 1},
    "hg1": {"num_stacks": 1, "num_features": 256, "num_keypoints": 16},
    "hg2": {"num_stacks": 2, "num_features": 256, "num_keypoints": 16},
    "hg8": {"num_stacks": 8, "num_features": 256, "num_keypoints": 16},
}
RELEASE_URL = "https://github.com/anibali/pytorch-stacked-hourglass/releases/download/v0.0.0/"
RELEASE_LICENCE = "weights from github.com/anibali/pytorch-stacked-hourglass, a repository under the GPL-3.0 licence"
PULLED = "models"  # the cache's folder of pulled weights
RELEASED = {  # the first digits of its sha256 end each name
    "hg1": "bearpaw_hg1-ce125879.pth",
    "hg2": "bearpaw_hg2-15e342d9.pth",
    "hg8": "bearpaw_hg8-90e5d470.pth",
}


@dataclass(frozen=True)
class Facts:
    """What is known of a named network without loading it.

    Attributes:
        keypoints: Name of its keypoint set.
        input_hw: Height and width in pixels that it was trained for.
        parameters: Of the whole network.
        gmacs: Multiply-accumulates of the exported graph for one crop, in 1e9.
        data: What its weights were made from, and on what terms they can be had.
        accuracy: Metric -> percent; None where nobody's figures are known.
        source: Whose figures these are.
    """

    keypoints: str
    input_hw: tuple[int, int]
    parameters: int
    gmacs: float
    data: str
    accuracy: dict[str, float] | None = None
    source: str = ""


_MPII = (
    "published sizes for MPII, whose labels are under the Simplified BSD licence and whose pictures are frames of "
    "other people's videos; not shipped: hgedge models pull NAME fetches weights that come from a GPL-3.0 repository"
)
FACTS = {
    DEFAULT: Facts(
        "lsp14", (192, 192), 1_699_676, 1.2828,
        "comes with hgedge, INT8 ranges too. Trained on Leeds Sports Pose Extended, which states no licence: "
        "research use; so are weights computed from it",
        {"PCK@0.5 pooled": 80.4, "PCK@0.2 pooled": 61.7, "PCK@0.1 pooled": 40.0, "PCK@0.05 pooled": 18.1},
        "FP32, 498 people of LSPET val; see hgedge/models/default/README.md",
    ),
    "face68": Facts(
        "face68", (128, 128), 442_504, 0.1449,
        "comes with hgedge, INT8 ranges too. Trained on crops of YouTube Faces (68 points), research use",
        {"NME": 6.16, "within@0.1 pooled": 87.2, "within@0.05 pooled": 49.9},
        "FP32, 187 faces of subjects that it has not seen; see hgedge/models/face68/README.md",
    ),
    "hg1": Facts("mpii16", (256, 256), 3_586_960, 5.8047, _MPII),
    "hg2": Facts(
        "mpii16", (256, 256), 6_730_912, 8.9554, _MPII,
        {"PCKh@0.5 mean": 87.33}, "MPII val, as the README of anibali/pytorch-stacked-hourglass reports",
    ),
    "hg8": Facts(
        "mpii16", (256, 256), 25_594_624, 27.8596, _MPII,
        {"PCKh@0.5 mean": 88.78}, "MPII val, hg_s8_b1 (best) as the README of bearpaw/pytorch-pose reports",
    ),
}  # fmt: skip


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
        num_stacks=sizes["num_stacks"],
        num_features=sizes["num_features"],
        num_keypoints=sizes["num_keypoints"],
        in_channels=sizes.get("in_channels", 3),
    )


def shipped_weights(name: str) -> Path | None:
    """The weights file that comes with hgedge for this name, or None."""
    return _shipped(name, "weights.safetensors")


def pulled_weights(name: str) -> Path | None:
    """The weights file that was pulled for this name, or None."""
    path = cache_folder(PULLED) / RELEASED.get(name, "")
    return path if name in RELEASED and path.is_file() else None


def shipped_ranges(name: str) -> Path | None:
    """The calibration range table that comes with hgedge for this name, or None."""
    return _shipped(name, "portable/calibration.json")


def shipped_half(name: str) -> Path | None:
    """The portable half of a bundle that comes with hgedge for this name, or None."""
    manifest = _shipped(name, "portable/manifest.json")
    return manifest.parent if manifest else None


def _shipped(name: str, file: str) -> Path | None:
    path = FOLDER / name / file
    return path if name in SIZES and path.is_file() else None
