"""A run as pictures: how loss, accuracy and learning rate went, and what the network finds on some people."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hgedge import geometry
from hgedge.pose import Pose
from hgedge.sources.opencv import cv2
from hgedge.spec import InputSpec
from hgedge.training.score import Found, Validation
from hgedge.visualization.draw import draw_poses

COLOR, FAINT = "#1f6f8b", "#b8c4c9"
COLUMNS, ROWS, TILE_PX, GAP_PX = 5, 3, 256, 4
WHITE = (255, 255, 255)


def curve_png(history: Sequence[Mapping[str, Any]], metric: str, best: int) -> bytes:
    """Loss, metric and learning rate over the epochs.

    Args:
        history: A line an epoch, as in the log.
        metric: Which of its numbers to draw.
        best: Which line is the best.
    """
    epochs = [line["epoch"] for line in history]
    figure = Figure(figsize=(7, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    for axes, name, label in zip(panels, ("loss", metric, "learning_rate"), ("loss", f"{metric}, %", "learning rate")):
        axes.plot(epochs, [line[name] for line in history], ".-", color=COLOR)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        for before, line in itertools.pairwise(history):
            if before["phase"] != line["phase"]:
                axes.axvline(line["epoch"] - 0.5, color=FAINT, linestyle="--")
    value = history[best][metric]
    panels[1].plot(epochs[best], value, "o", markersize=9, markerfacecolor="none", color=COLOR)
    panels[1].set_title(f"kept: epoch {epochs[best]}, {metric} {value:.2f}", fontsize="medium")
    panels[2].set_yscale("log")
    panels[2].set_xlabel("epoch; a dashed line begins a phase")
    panels[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()


def predictions_png(validation: Validation, found: Found, spec: InputSpec) -> bytes:
    """Crops of people spread over the split: what is found as the field draws it, labels as white rings.

    A white line joins each label to what was found for it.
    """
    count = min(COLUMNS * ROWS, len(validation.dataset))
    chosen = np.linspace(0, len(validation.dataset) - 1, count).round().astype(int)
    rows = -(-count // COLUMNS)
    step = TILE_PX + GAP_PX
    grid = np.zeros((rows * step - GAP_PX, COLUMNS * step - GAP_PX, 3), np.uint8)
    for place, index in enumerate(chosen.tolist()):
        top, left = place // COLUMNS * step, place % COLUMNS * step
        grid[top : top + TILE_PX, left : left + TILE_PX] = _tile(validation, found, index, spec)
    return bytes(cv2.imencode(".png", grid)[1])


def _tile(validation: Validation, found: Found, index: int, spec: InputSpec) -> np.ndarray:
    crop = validation.crop(index, spec)
    picture = cv2.resize(np.repeat(crop, 3 // crop.shape[2], axis=2), (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC)
    to_crop, zoom = geometry.invert(validation.affine(index, spec)), TILE_PX / spec.hw[0]
    person, origin_px = validation.dataset.people[index], validation.dataset.origin_px

    def in_tile(points: np.ndarray) -> np.ndarray:
        return (geometry.transform(to_crop, points - origin_px) + 0.5) * zoom - 0.5

    points, labels = in_tile(found.keypoints[index]), in_tile(person.keypoints)
    peaks = np.clip(found.peaks[index], 0, 1)
    box = np.array([0, 0, TILE_PX, TILE_PX], np.float32)
    pose = Pose(points.astype(np.float32), peaks.astype(np.float32), box, float(peaks.mean()))
    picture = draw_poses(picture, [pose], validation.dataset.keypoint_set, min_score=0.05)
    for point, label in zip(points[person.labelled], labels[person.labelled]):
        ends = [tuple(np.clip(np.rint(end), -TILE_PX, 2 * TILE_PX).astype(int).tolist()) for end in (point, label)]
        cv2.line(picture, ends[0], ends[1], WHITE, 1, cv2.LINE_AA)
        cv2.circle(picture, ends[1], 3, WHITE, 1, cv2.LINE_AA)
    return picture
