"""ONNX detectors made by hand: each finds the one bright spot in a plane of its input, and writes it in some format.

The box is that of two standard deviations around the spot's centre of mass, the score 0.9 where the brightest pixel
has the value that full brightness must have after normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HW = (96, 160)
OPSET, IR_VERSION = 17, 8
STRIDES = (8, 16, 32)
CELLS = [(row, column, s) for s in STRIDES for row in range(HW[0] // s) for column in range(HW[1] // s)]
CHOSEN = 250  # the cell that the spot is written into: level of 16 pixels
SCORE, OBJECTNESS = 0.9, 0.95


@dataclass
class Graph:
    """A graph under construction; every method returns the name of what it made."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __call__(self, kind: str, *inputs: str | np.ndarray | float, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], **attributes))
        return name

    def constant(self, value: np.ndarray | float, name: str = "") -> str:
        array = np.asarray(value, np.float32 if np.asarray(value).dtype.kind == "f" else np.int64)
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def joined(self, *values: str | float) -> str:
        """(n,) of scalars."""
        return self(
            "Concat", *(self("Reshape", np.float32(v) if not isinstance(v, str) else v, [1]) for v in values), axis=0
        )

    def save(self, path: Path, outputs: dict[str, str], shape=(1, 3, *HW), kind: int = TensorProto.FLOAT) -> Path:
        """Write it with the given outputs, name -> tensor; shapes are left to the runtime."""
        for name, tensor in outputs.items():
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        whole = {each.name for each in self.constants if each.data_type == TensorProto.INT64}
        types = {name: TensorProto.INT64 if of in whole else TensorProto.FLOAT for name, of in outputs.items()}
        infos = [helper.make_tensor_value_info(name, type, None) for name, type in types.items()]
        image = helper.make_tensor_value_info("images", kind, list(shape))
        graph = helper.make_graph(self.nodes, "detector", [image], infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.save(model, path)
        return path


@dataclass
class Spot:
    """Names of scalars: centre, size and corners in pixels of the input, and score."""

    center: tuple[str, str]
    size: tuple[str, str]
    corners: tuple[str, ...]
    score: str


def spot(g: Graph, grey: float, full: float, image: str = "images") -> Spot:
    """Find the spot in the input's first plane, where grey and full brightness have these values."""
    plane = g("Gather", image, np.int64(0), axis=1)
    weight = g("Relu", g("Sub", plane, grey))
    mass = g("Add", g("ReduceSum", weight, keepdims=0), 1e-6)
    center, size, low, high = [], [], [], []
    for axis, pixels in ((2, HW[1]), (1, HW[0])):
        places = (np.arange(pixels, dtype=np.float32) + 0.5).reshape((1, 1, -1) if axis == 2 else (1, -1, 1))
        mean = g("Div", g("ReduceSum", g("Mul", weight, places), keepdims=0), mass)
        apart = g("Mul", g("Sub", places, mean), g("Sub", places, mean))
        variance = g("Div", g("ReduceSum", g("Mul", weight, apart), keepdims=0), mass)
        side = g("Add", g("Mul", g("Sqrt", variance), 4.0), 1e-3)
        center.append(mean)
        size.append(side)
        low.append(g("Sub", mean, g("Div", side, 2.0)))
        high.append(g("Add", mean, g("Div", side, 2.0)))
    brightest = g("ReduceMax", g("Sub", plane, grey), keepdims=0)
    score = g("Mul", brightest, SCORE / (full - grey))
    return Spot(tuple(center), tuple(size), (*low, *high), score)


def row_among(g: Graph, row: str, others: np.ndarray, at: int) -> str:
    """(1, A, n): constant rows, one of which is the given (n,)."""
    before, after = others[None, :at], others[None, at + 1 :]
    return g("Concat", before, g("Reshape", row, [1, 1, others.shape[1]]), after, axis=1)


def centers_of_cells() -> np.ndarray:
    return np.array([[(column + 0.5) * s, (row + 0.5) * s] for row, column, s in CELLS], np.float32)


def yolox(path: Path, **options) -> Path:
    g = Graph()
    found = spot(g, 114.0, 255.0)
    row, column, stride = CELLS[CHOSEN]
    offsets = [g("Sub", g("Div", each, float(stride)), float(at)) for each, at in zip(found.center, (column, row))]
    sizes = [g("Log", g("Div", each, float(stride))) for each in found.size]
    of_person = g("Div", found.score, OBJECTNESS)
    values = g.joined(*offsets, *sizes, OBJECTNESS, of_person, *[0.0] * 79)
    return g.save(path, {"output": row_among(g, values, np.zeros((len(CELLS), 85), np.float32), CHOSEN)}, **options)


def decoded(path: Path, grey: float, full: float, cells: int) -> Path:
    """Centre and size in pixels, objectness, classes: YOLOX decoded in its graph, or YOLOv5."""
    g = Graph()
    found = spot(g, grey, full)
    values = g.joined(*found.center, *found.size, OBJECTNESS, g("Div", found.score, OBJECTNESS), *[0.0] * 79)
    others = np.zeros((cells, 85), np.float32)
    others[:, :2] = np.tile(centers_of_cells(), (cells // len(CELLS), 1))
    others[:, 2:4] = 20
    return g.save(path, {"output": row_among(g, values, others, CHOSEN)})


def ultralytics(path: Path, **options) -> Path:
    g = Graph()
    found = spot(g, 114 / 255, 1.0)
    values = g.joined(*found.center, *found.size, found.score, *[0.0] * 79)
    rows = row_among(g, values, np.zeros((len(CELLS), 84), np.float32), CHOSEN)
    return g.save(path, {"output0": g("Transpose", rows, perm=[0, 2, 1])}, **options)


def end_to_end(path: Path) -> Path:
    g = Graph()
    found = spot(g, 114 / 255, 1.0)
    others = np.zeros((300, 6), np.float32)
    others[1] = (10, 10, 40, 40, 0.99, 2)  # a car
    return g.save(path, {"output0": row_among(g, g.joined(*found.corners, found.score, 0.0), others, 0)})


def mmdeploy(path: Path, grey: float, full: float, weight: str) -> Path:
    g = Graph()
    found = spot(g, grey, full)
    g.constant(np.zeros(1, np.float32), weight)
    others = np.array([[10, 10, 40, 40, 0.99], [0, 0, 0, 0, 0]], np.float32)
    dets = row_among(g, g.joined(*found.corners, found.score), others, 1)
    return g.save(path, {"dets": dets, "labels": g.constant(np.array([[2, 0]]))})


def rtmdet(path: Path) -> Path:
    return mmdeploy(path, (114 - 103.53) / 57.375, (255 - 103.53) / 57.375, "bbox_head.rtm_cls.0.weight")


def boxes_and_scores(path: Path, labelled: bool, classes: int = 0) -> Path:
    g = Graph()
    found = spot(g, 114 / 255, 1.0)
    boxes = row_among(g, g.joined(*found.corners), np.array([[10, 10, 40, 40], [0, 0, 0, 0]], np.float32), 1)
    if classes:
        other = np.eye(classes, dtype=np.float32)[[1, 1]]
        scores = row_among(g, g.joined(found.score, *[0.0] * (classes - 1)), other, 1)
    else:
        scores = g("Reshape", g.joined(0.99 if labelled else 0.1, found.score), [1, 2])
    labels = {"labels": g.constant(np.array([[2, 0]]))} if labelled else {}
    return g.save(path, {"boxes": boxes, "scores": scores, **labels})


@dataclass(frozen=True)
class Kind:
    """A format: what it is recognised as, how to write one, and whether its first plane is blue."""

    name: str
    make: Callable[[Path], Path]
    bgr: bool


IN_255 = (114.0, 255.0)
KINDS = {
    "yolox": Kind("YOLOX", yolox, True),
    "yolox-decoded": Kind("YOLOX", lambda path: decoded(path, *IN_255, len(CELLS)), True),
    "yolov5": Kind("YOLOv5", lambda path: decoded(path, 114 / 255, 1.0, 3 * len(CELLS)), False),
    "ultralytics": Kind("Ultralytics", ultralytics, False),
    "end-to-end": Kind("end to end", end_to_end, False),
    "rtmdet": Kind("RTMDet", rtmdet, True),
    "yolox-mmdeploy": Kind(
        "YOLOX by MMDeploy",
        lambda path: mmdeploy(path, *IN_255, "bbox_head.multi_level_conv_cls.0.weight"),
        True,
    ),
    "boxes-scores": Kind("boxes and scores", lambda path: boxes_and_scores(path, False), False),
    "boxes-scores-labels": Kind("boxes and scores", lambda path: boxes_and_scores(path, True), False),
    "boxes-classes": Kind("boxes and scores", lambda path: boxes_and_scores(path, False, 80), False),
}
