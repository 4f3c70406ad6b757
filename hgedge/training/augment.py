"""Training crops: turned, scaled, shifted, mirrored, with other light; keypoints and labels follow.

Every sample draws from its own generator, seeded by (seed, epoch, index): the same crop whatever the order of loading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgedge import geometry
from hgedge.pose import KeypointSet
from hgedge.sources.opencv import cv2


@dataclass(frozen=True)
class Augmentation:
    """How far a training crop may stray from the data set's own.

    Attributes:
        rotation_deg: Largest turn either way, for six samples in ten.
        scale: Smallest and largest factor on the crop's side, drawn log-uniformly.
        shift: Largest shift as a fraction of the crop's side.
        flip: Probability of a mirrored sample.
        gain: Largest relative change of each colour channel's brightness.
        occlusion: Probability of a rectangle of one colour, of up to a third of the side.
    """

    rotation_deg: float = 30.0
    scale: tuple[float, float] = (0.75, 1.25)
    shift: float = 0.05
    flip: float = 0.5
    gain: float = 0.3
    occlusion: float = 0.3


def training_crop(
    picture: np.ndarray,
    keypoints: np.ndarray,
    labelled: np.ndarray,
    box_xyxy: np.ndarray,
    keypoint_set: KeypointSet,
    input_hw: tuple[int, int],
    augmentation: Augmentation,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one augmented crop.

    Args:
        picture: (H, W, C) uint8, BGR or grey.
        keypoints: (K, 2) picture pixels.
        labelled: (K,) bool.
        box_xyxy: (4,) the data set's crop.
        keypoint_set: Tells which keypoints swap in a mirror.
        input_hw: Size of the crop in pixels.
        augmentation: Ranges to draw from.
        random: The sample's own generator.

    Returns:
        crop: (H, W, C) uint8.
        keypoints: (K, 2) float64, crop pixels.
        labelled: (K,) bool.
    """
    affine = _random_affine(box_xyxy, input_hw, augmentation, random)
    height, width = input_hw
    crop = cv2.warpAffine(picture, affine, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    moved = geometry.transform(geometry.invert(affine), keypoints)
    if random.random() < augmentation.flip:
        order = list(keypoint_set.flip_indices)
        crop = cv2.flip(crop, 1)
        moved = np.column_stack([width - 1 - moved[:, 0], moved[:, 1]])[order]
        labelled = labelled[order]
    channels = picture.shape[2]
    shared, own = random.uniform(-1, 1), random.uniform(-1, 1, channels)
    gains = np.float32(1 + augmentation.gain * shared + augmentation.gain / 3 * own)
    levels = np.clip(np.arange(256, dtype=np.uint8)[:, None] * gains, 0, 255).astype(np.uint8)
    crop = cv2.LUT(crop, levels[None]).reshape(height, width, channels)
    if random.random() < augmentation.occlusion:
        _occlude(crop, random)
    return crop, moved, labelled


def _random_affine(
    box_xyxy: np.ndarray, input_hw: tuple[int, int], augmentation: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """The map from crop pixels to picture pixels of a turned, scaled and shifted box."""
    side = box_xyxy[2] - box_xyxy[0]
    center = (box_xyxy[:2] + box_xyxy[2:]) / 2 + augmentation.shift * side * random.uniform(-1, 1, 2)
    half = side / 2 * np.exp(random.uniform(*np.log(augmentation.scale)))
    turns = random.random() < 0.6
    rotation = augmentation.rotation_deg * random.uniform(-1, 1) if turns else 0.0
    return geometry.frame_from_input(np.concatenate([center - half, center + half]), input_hw, rotation)


def _occlude(crop: np.ndarray, random: np.random.Generator) -> None:
    """Paint a rectangle of one random colour, in place."""
    size = np.array(crop.shape[:2])
    extent = (size * random.uniform(0.1, 0.33, 2)).astype(int)
    top, left = (random.uniform(0, 1, 2) * (size - extent)).astype(int)
    crop[top : top + extent[0], left : left + extent[1]] = random.integers(0, 256, crop.shape[2], dtype=np.uint8)
