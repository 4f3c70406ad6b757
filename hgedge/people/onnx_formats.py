"""What detectors give, and want: recognised by the names and shapes of their outputs, decoded into people.

| format | outputs | boxes | pixels |
| --- | --- | --- | --- |
| YOLOX | (1, A, 5 + C) | centre and size of the cell's offset, objectness, classes | BGR, 0 to 255 |
| YOLOv5, v7 | (1, 3A, 5 + C) | centre and size in pixels, objectness, classes | RGB, 0 to 1 |
| Ultralytics, v8 and later | (1, 4 + C, A) | centre and size in pixels, classes | RGB, 0 to 1 |
| end to end (v10, v26, `nms=True`) | (1, N, 6) | corners, score, class | RGB, 0 to 1 |
| RTMDet by MMDeploy | dets (1, N, 5), labels (1, N) | corners, score | BGR, ImageNet's mean and std |
| YOLOX by MMDeploy | the same, and weights called `multi_level_conv_...` | the same | BGR, 0 to 255 |
| boxes and scores | boxes (1, N, 4), scores (1, N) or (1, N, C), labels (1, N)? | corners | RGB, 0 to 1 |

A is the number of cells of 8, 16 and 32 pixels (and of 64 in some) that the input has, level by level, row by row.
Corners lie in input pixels. Class 0 is a person, as in COCO; a box is a person's if no class has a higher score.
YOLOX exported with `--decode_in_inference` gives centres in pixels, which are far larger than offsets of cells.

Source: Megvii-BaseDetection/YOLOX, demo_utils.py and export_onnx.py; Ultralytics' guides on ONNX and end-to-end
detection; open-mmlab/mmdeploy, configs/mmdet, and mmdetection, configs/rtmdet and yolox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgedge.errors import ConfigError
from hgedge.spec import InputSpec

Outputs = Mapping[str, np.ndarray]
People = tuple[np.ndarray, np.ndarray]  # (N, 4) left, top, right, bottom in input pixels, and (N,) scores
Decode = Callable[[Outputs], People]

UNDERSTOOD = (
    "YOLOX (1, cells, 85), YOLOv5 (1, 3 cells, 85), Ultralytics (1, 84, cells), end to end (1, N, 6), MMDeploy's dets "
    "(1, N, 5) and labels (1, N), or boxes (1, N, 4), scores (1, N) or (1, N, classes) and perhaps labels (1, N)"
)
STRIDES = (8, 16, 32, 64)
PERSON = 0
FARTHEST_OFFSET = 8.0  # cells: half of a YOLOX's centres lie nearer to their cells by far; in pixels half lie beyond
MMDEPLOY_YOLOX = b"multi_level_conv_"  # what MMDetection calls the last layers of YOLOX, not of RTMDet
IMAGENET_BGR = ((0.406, 0.456, 0.485), (0.225, 0.224, 0.229))  # as 103.53, 116.28, 123.675 and 57.375, 57.12, 58.395


@dataclass(frozen=True)
class Format:
    """How to feed a detector and read what it gives.

    Attributes:
        name: For messages.
        input: Size and colours of its pixels.
        centered: The picture lies in the middle of the input; else in its top left corner. Grey surrounds it.
        decode: Outputs for one picture to people.
    """

    name: str
    input: InputSpec
    centered: bool
    decode: Decode


def recognise(outputs: Outputs, input_hw: tuple[int, int], path: Path) -> Format:
    """The format of a detector.

    Args:
        outputs: What it gave for a grey picture.
        input_hw: Height and width of its input.
        path: The ONNX file.

    Raises:
        ConfigError: It is none of these.
    """
    bgr255 = InputSpec(input_hw, "bgr", std=(1 / 255,) * 3)
    rgb = InputSpec(input_hw, "rgb")
    names, shapes = set(outputs), {name: array.shape for name, array in outputs.items()}
    if names == {"dets", "labels"} and _fits(shapes["dets"], (1, None, 5)):
        if MMDEPLOY_YOLOX in path.read_bytes():
            return Format("YOLOX by MMDeploy", bgr255, False, _dets)
        return Format("RTMDet", InputSpec(input_hw, "bgr", *IMAGENET_BGR), False, _dets)
    if names in ({"boxes", "scores"}, {"boxes", "scores", "labels"}) and shapes["boxes"][-1:] == (4,):
        return Format("boxes and scores", rgb, True, _plain)
    if len(outputs) == 1 and _fits(shape := next(iter(shapes.values())), (1, None, None)):
        return _of_one_output(shape, next(iter(outputs.values())), rgb, bgr255)
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise ConfigError(f"outputs must be those of {UNDERSTOOD}, but are {found}")


def _of_one_output(shape: tuple[int, ...], output: np.ndarray, rgb: InputSpec, bgr255: InputSpec) -> Format:
    grids = [_grid(rgb.hw, STRIDES[:count]) for count in (3, 4)]
    cells = {len(places): (places, sizes) for places, sizes in grids}
    _, rows, columns = shape
    if rows in cells and columns > 5:
        centers_in_pixels = np.median(np.abs(output[0, :, :2])) > FARTHEST_OFFSET
        return Format("YOLOX", bgr255, False, _yolo if centers_in_pixels else _yolox(*cells[rows]))
    if rows in {3 * count for count in cells} and columns > 5:
        return Format("YOLOv5", rgb, True, _yolo)
    if columns in cells and rows > 4:
        return Format("Ultralytics", rgb, True, _ultralytics)
    if columns == 6:
        return Format("end to end", rgb, True, _end_to_end)
    raise ConfigError(
        f"an output must be one of {UNDERSTOOD}, where an input of {rgb.hw[0]}x{rgb.hw[1]} pixels has "
        f"{' or '.join(map(str, cells))} cells, but is {shape}"
    )


def _fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(want in (None, size) for size, want in zip(shape, pattern))


def _grid(input_hw: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of every cell, (A, 2), and its size in pixels, (A, 1)."""
    places, sizes = [], []
    for stride in strides:
        rows, columns = (size // stride for size in input_hw)
        places.append(np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2))
        sizes.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places), np.concatenate(sizes)


def _yolox(places: np.ndarray, sizes: np.ndarray) -> Decode:
    def decode(outputs: Outputs) -> People:
        (rows,) = next(iter(outputs.values()))
        with np.errstate(over="ignore"):
            boxes = _corners((rows[:, :2] + places) * sizes, np.exp(rows[:, 2:4]) * sizes)
        return boxes, rows[:, 4] * _of_persons(rows[:, 5:])

    return decode


def _yolo(outputs: Outputs) -> People:
    (rows,) = next(iter(outputs.values()))
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4] * _of_persons(rows[:, 5:])


def _ultralytics(outputs: Outputs) -> People:
    rows = next(iter(outputs.values()))[0].T
    return _corners(rows[:, :2], rows[:, 2:4]), _of_persons(rows[:, 4:])


def _end_to_end(outputs: Outputs) -> People:
    (rows,) = next(iter(outputs.values()))
    return rows[:, :4], np.where(rows[:, 5] == PERSON, rows[:, 4], 0)


def _dets(outputs: Outputs) -> People:
    (rows,) = outputs["dets"]
    return rows[:, :4], np.where(outputs["labels"].reshape(-1) == PERSON, rows[:, 4], 0)


def _plain(outputs: Outputs) -> People:
    boxes = outputs["boxes"].reshape(-1, 4)
    scores = outputs["scores"]
    scores = scores.reshape(len(boxes), -1) if len(boxes) else np.empty((0, 1), np.float32)
    persons = _of_persons(scores)
    if "labels" in outputs:
        persons = np.where(outputs["labels"].reshape(-1) == PERSON, scores[:, 0], 0)
    return boxes, persons


def _corners(center: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.hstack([center - size / 2, center + size / 2])


def _of_persons(classes: np.ndarray) -> np.ndarray:
    """(N,) the score of class 0 where no other's is higher, else 0; of (N, C)."""
    if not len(classes):
        return np.zeros(0, np.float32)
    return np.where(classes.argmax(axis=1) == PERSON, classes[:, PERSON], 0)
