from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest

import hgedge.datasets
from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import ShapeError
from hgedge.pose import KeypointSet, Pose
from hgedge.sources.images import read_picture
from hgedge.visualization.draw import draw_poses, joint_colors, limb_colors
from hgedge.visualization.figures import figure_picture

LSPET = Path(__file__).parents[2].parent / "shared" / "data" / "lspet"
GREY = np.full((200, 160, 3), 128, np.uint8)
BAR = KeypointSet("bar", ("right_a", "right_b"), ((0, 1),), (0, 1))
REACH_PX = 6.0  # of a limb and its rim around its axis, for a person of 100 px


def bar(start: tuple[float, float], end: tuple[float, float], scores: tuple[float, float] = (1, 1)) -> Pose:
    return Pose(np.float32([start, end]), np.float32(scores), np.float32([0, 0, 100, 100]), 1.0)


def person(scores: np.ndarray | float = 1.0) -> tuple[np.ndarray, Pose]:
    image, keypoints = figure_picture((200, 160), seed=1)
    return image, Pose(keypoints, np.broadcast_to(np.float32(scores), 14).copy(), np.float32([0, 0, 160, 200]), 1.0)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


def distance_to_segment(shape: tuple[int, ...], start: np.ndarray, end: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    points = np.stack([x, y], axis=2).astype(float)
    along = end - start
    share = np.clip(((points - start) @ along) / max(along @ along, 1e-9), 0, 1)
    return np.linalg.norm(points - start - share[..., None] * along, axis=2)


def hue(bgr: tuple[int, ...]) -> float:
    blue, green, red = (part / 255 for part in bgr)
    return colorsys.rgb_to_hsv(red, green, blue)[0]


def test_original_stays_and_only_pixels_near_limbs_change() -> None:
    start, end = np.array([30.0, 40.0]), np.array([110.0, 150.0])
    before = GREY.copy()
    drawn = draw_poses(before, [bar(tuple(start), tuple(end))], BAR)
    np.testing.assert_array_equal(before, GREY)
    distance = distance_to_segment(GREY.shape, start, end)
    assert not changed(GREY, drawn)[distance > REACH_PX].any()
    assert changed(GREY, drawn)[distance < 1].all()


def test_every_joint_of_a_person_is_marked_and_far_pixels_stay() -> None:
    image, pose = person()
    mask = changed(image, draw_poses(image, [pose], LSP14))
    nearest = np.min([distance_to_segment(mask.shape, *pose.keypoints[list(limb)]) for limb in LSP14.skeleton], axis=0)
    assert not mask[nearest > 2 * REACH_PX].any()
    assert all(mask[round(float(y)), round(float(x))] for x, y in pose.keypoints)


def test_joints_are_filled_with_a_dark_rim() -> None:
    drawn = draw_poses(GREY, [bar((80, 100), (80, 100))], BAR).astype(int)
    row = drawn[100, 80:100]
    np.testing.assert_array_equal(row[0], joint_colors(BAR)[1])
    rim = row.sum(axis=1).argmin()
    assert 0 < rim < REACH_PX and row[rim].max() < 100  # darker than both the joint and the grey


@pytest.mark.parametrize("scores", [(0.19, 0.19), (0.0, 0.0), (np.nan, np.nan), (-1.0, -np.inf)])
def test_low_scores_draw_nothing(scores: tuple[float, float]) -> None:
    np.testing.assert_array_equal(draw_poses(GREY, [bar((30, 40), (100, 150), scores)], BAR), GREY)


def test_limb_needs_both_joints_and_the_other_joint_stays() -> None:
    mask = changed(GREY, draw_poses(GREY, [bar((30, 40), (110, 150), (0.9, 0.1))], BAR))
    assert mask[40, 30] and not mask[95, 70] and not mask[150, 110]


def test_min_score_is_a_threshold_that_can_be_set() -> None:
    pose = bar((30, 40), (110, 150), (0.5, 0.5))
    assert changed(GREY, draw_poses(GREY, [pose], BAR, min_score=0.5)).any()
    assert not changed(GREY, draw_poses(GREY, [pose], BAR, min_score=0.51)).any()


def test_colour_fades_with_the_score() -> None:
    color = np.array(limb_colors(BAR)[0], float)
    distances = []
    for score in (0.2, 0.4, 0.6, 0.8, 1.0):
        middle = draw_poses(GREY, [bar((30, 40), (110, 150), (1.0, score))], BAR)[95, 70]
        distances.append(np.abs(middle - color).sum())
    assert distances == sorted(distances, reverse=True) and distances[-1] == 0 and distances[0] > 100


@pytest.mark.parametrize("keypoint_set", [LSP14, MPII16], ids=lambda keypoint_set: keypoint_set.name)
def test_right_is_warm_left_is_cool_and_limbs_differ(keypoint_set: KeypointSet) -> None:
    colors = limb_colors(keypoint_set)
    assert len(set(colors)) == len(keypoint_set.skeleton)
    for limb, color in zip(keypoint_set.skeleton, colors, strict=True):
        sides = {name.split("_")[0] for name in (keypoint_set.names[joint] for joint in limb)} & {"right", "left"}
        low, high = {"right": (0, 0.17), "left": (0.49, 0.67)}.get(sides.pop() if len(sides) == 1 else "", (0.25, 0.45))
        assert low <= hue(color) <= high


def test_mirrored_person_is_drawn_in_the_other_colours() -> None:
    _, pose = person()
    swapped = Pose(pose.keypoints[list(LSP14.flip_indices)], pose.scores, pose.box_xyxy, pose.score)
    blank = np.zeros((200, 160, 3), np.uint8)
    ours, theirs = (draw_poses(blank, [p], LSP14).astype(int) for p in (pose, swapped))
    x, y = np.rint(pose.keypoints[0]).astype(int)  # the right ankle
    assert ours[y, x, 2] > ours[y, x, 0] and theirs[y, x, 0] > theirs[y, x, 2]


def test_thickness_grows_with_the_person() -> None:
    blank = np.zeros((1000, 1000, 3), np.uint8)
    widths = []
    for size in (100, 400, 900):
        pose = Pose(np.float32([[50, 50], [50, 50 + size]]), np.float32([1, 1]), np.float32([0, 0, size, size]), 1.0)
        widths.append(int(draw_poses(blank, [pose], BAR)[50 + size // 2].any(axis=1).sum()))
    assert widths[0] < widths[1] < widths[2] < 40


@pytest.mark.parametrize(
    "wild", [np.nan, np.inf, -np.inf, 1e9, -1e9, 3e38], ids=["nan", "inf", "-inf", "1e9", "-1e9", "3e38"]
)
def test_wild_coordinates_are_survived(wild: float) -> None:
    drawn = draw_poses(GREY, [bar((wild, 40), (110, 150)), bar((wild, wild), (wild, wild))], BAR)
    assert drawn.shape == GREY.shape and changed(GREY, drawn)[150, 110]
    if not np.isfinite(wild):
        assert not changed(GREY, drawn)[:100].any()  # no limb to nowhere


def test_limbs_over_the_border_are_cut() -> None:
    across = draw_poses(GREY, [bar((-40, 100), (200, 100))], BAR)
    assert changed(GREY, across)[100].all()
    outside = draw_poses(GREY, [bar((-90, -50), (-40, -20)), bar((500, 500), (600, 600))], BAR)
    np.testing.assert_array_equal(outside, GREY)


def test_box_that_is_not_finite_does_not_matter() -> None:
    pose = Pose(np.float32([[30, 40], [110, 150]]), np.float32([1, 1]), np.float32([np.nan] * 4), 1.0)
    assert changed(GREY, draw_poses(GREY, [pose], BAR))[95, 70]


def test_nobody_is_nothing() -> None:
    drawn = draw_poses(GREY, [], LSP14)
    np.testing.assert_array_equal(drawn, GREY)
    assert drawn is not GREY and not np.shares_memory(drawn, GREY)


def test_views_of_larger_arrays_can_be_drawn_into() -> None:
    view = np.full((400, 320, 3), 128, np.uint8)[::2, ::-2]
    pose = bar((30, 40), (110, 150))
    np.testing.assert_array_equal(draw_poses(view, [pose], BAR), draw_poses(GREY, [pose], BAR))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"must be \(H, W, 3\) uint8, but got \(8, 8\) uint8"),
        (np.zeros((8, 8, 3), np.float32), r"must be \(H, W, 3\) uint8, but got \(8, 8, 3\) float32"),
        (GREY, r"poses must have the 14 keypoints of lsp14, but got 2"),
    ],
)
def test_wrong_shapes(image: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        draw_poses(image, [bar((1, 1), (5, 5))], LSP14)


def test_real_photographs_change_at_their_labels_alone() -> None:
    if not LSPET.is_dir():
        pytest.skip(f"needs the data set in {LSPET}")
    for someone in hgedge.datasets.open(LSPET, "val").people[:20]:
        image = read_picture(someone.image)
        scores = someone.labelled.astype(np.float32)
        pose = Pose(someone.keypoints.astype(np.float32), scores, someone.box_xyxy.astype(np.float32), 1.0)
        mask = changed(image, draw_poses(image, [pose], LSP14))
        joints = someone.keypoints[someone.labelled]
        x0, y0, x1, y1 = *(joints.min(axis=0) - 12), *(joints.max(axis=0) + 12)
        y, x = np.nonzero(mask)
        assert len(x) and x.min() >= x0 and x.max() <= x1 and y.min() >= y0 and y.max() <= y1
