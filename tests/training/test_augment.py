"""Keypoints follow the picture: a marked joint is found where the crop says that it is."""

import cv2
import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.training.augment import Augmentation, training_crop

KEYPOINTS = np.random.default_rng(3).uniform(60, 140, (14, 2))
BOX = np.array([50.0, 50.0, 150.0, 150.0])


def marked_picture(joint):
    """Black, with a soft white dot on one joint."""
    y, x = np.mgrid[:200, :200]
    dot = 255 * np.exp(-((x - KEYPOINTS[joint, 0]) ** 2 + (y - KEYPOINTS[joint, 1]) ** 2) / 18)
    return np.repeat(dot[..., None], 3, axis=2).astype(np.uint8)


def center_of_light(crop):
    weights = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(float)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_joints_follow_the_picture(seed, flip):
    strong = Augmentation(rotation_deg=60, scale=(1.0, 1.4), shift=0.1, flip=flip, gain=0.0, occlusion=0.0)
    for joint in (0, 7, 12):
        crop, keypoints, _ = training_crop(
            marked_picture(joint),
            KEYPOINTS,
            np.ones(14, bool),
            BOX,
            LSP14,
            (96, 96),
            strong,
            np.random.default_rng(seed),
        )
        at = LSP14.flip_indices[joint] if flip else joint
        if (keypoints[at] > 8).all() and (keypoints[at] < 87).all():
            assert np.linalg.norm(center_of_light(crop) - keypoints[at]) < 0.5


def test_labels_swap_with_a_mirror():
    labelled = np.ones(14, bool)
    labelled[0] = False  # right ankle
    mirror = Augmentation(flip=1.0)
    _, _, moved = training_crop(
        marked_picture(0), KEYPOINTS, labelled, BOX, LSP14, (64, 64), mirror, np.random.default_rng(0)
    )
    assert not moved[5] and moved.sum() == 13  # left ankle


def test_the_same_generator_gives_the_same_crop():
    one, two = (
        training_crop(marked_picture(0), KEYPOINTS, np.ones(14, bool), BOX, LSP14, (64, 64), Augmentation(), random)
        for random in (np.random.default_rng((1, 2, 3)), np.random.default_rng((1, 2, 3)))
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_occlusion_paints_a_rectangle():
    always = Augmentation(occlusion=1.0, gain=0.0)
    crop, _, _ = training_crop(
        np.zeros((200, 200, 3), np.uint8), KEYPOINTS, np.ones(14, bool), BOX, LSP14, (96, 96), always,
        np.random.default_rng(0),
    )  # fmt: skip
    painted = np.argwhere(crop.any(axis=2))
    extent = painted.max(axis=0) - painted.min(axis=0) + 1
    assert extent.prod() == len(painted) and (extent >= 9).all() and (extent <= 32).all()


def test_grey_pictures_vary_as_colour_ones_do():
    """A grey picture gives one channel, with joints where the colour picture of the same generator has them."""
    always = Augmentation(occlusion=1.0)
    color = marked_picture(7)
    args = (KEYPOINTS, np.ones(14, bool), BOX, LSP14, (96, 96), always)
    _, expected, _ = training_crop(color, *args, np.random.default_rng(1))
    crop, keypoints, _ = training_crop(color[..., :1], *args, np.random.default_rng(1))
    assert crop.shape == (96, 96, 1) and crop.dtype == np.uint8
    np.testing.assert_array_equal(keypoints, expected)


def test_brightness_changes_by_at_most_the_gain():
    """One factor for all channels up to the gain, and one for each up to a third of it; white cannot grow."""
    grey = np.full((200, 200, 3), 100, np.uint8)
    still = Augmentation(rotation_deg=0.0, scale=(1.0, 1.0), shift=0.0, gain=0.3, occlusion=0.0)
    means = []
    for seed in range(40):
        crop, _, _ = training_crop(
            grey, KEYPOINTS, np.ones(14, bool), BOX, LSP14, (64, 64), still, np.random.default_rng(seed)
        )
        assert (crop == crop[0, 0]).all()
        means.append(crop[0, 0].astype(float))
    low, high = np.min(means), np.max(means)
    assert 59 <= low < 75 and 125 < high <= 140 and len(np.unique(np.ptp(means, axis=1))) > 3
