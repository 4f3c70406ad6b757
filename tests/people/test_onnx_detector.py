from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.people import open_people
from hgedge.people.onnx_detector import letterbox
from hgedge.pose import Frame
from tests.people import detectors
from tests.people.detectors import HW, KINDS, SCORE, Graph, spot

CENTER_PX = 0.05  # of the frame: 8-bit grey levels and linear interpolation move a centre of mass by less
SIZE_SHARE = 0.03  # interpolation blurs a little
SCORE_TOLERANCE = 0.02  # the brightest pixel lies beside the middle of the spot

FRAMES = {
    "as the input": (HW, (70.3, 40.6), 9.0),
    "wide": ((200, 700), (512.4, 77.7), 20.0),
    "high": ((431, 217), (70.2, 333.3), 15.0),
    "small": ((37, 41), (21.4, 12.3), 4.0),
}


def picture(frame_hw: tuple[int, int], center: tuple[float, float], sigma: float, channel: int) -> np.ndarray:
    """Grey, a round spot that is bright in one channel, and a darker one elsewhere in the others."""
    y, x = np.mgrid[: frame_hw[0], : frame_hw[1]]
    image = np.full((*frame_hw, 3), 114.0)
    for each in range(3):
        middle = center if each == channel else (frame_hw[1] - center[0], frame_hw[0] - center[1])
        apart = (x - middle[0]) ** 2 + (y - middle[1]) ** 2
        image[..., each] += 141 * np.exp(-apart / (2 * sigma**2))
    return image.round().astype(np.uint8)


def found_by(path: Path, image: np.ndarray) -> np.ndarray:
    return open_people(f"onnx:{path}").detect(Frame(image, 7, 0.0, 0.0, 0.0), image)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_box_lies_where_the_picture_is_bright(tmp_path: Path, kind: str, frame: str) -> None:
    """Through letterbox, colours, normalisation, the format, and back: to a twentieth of a pixel."""
    frame_hw, center, sigma = FRAMES[frame]
    path = KINDS[kind].make(tmp_path / "detector.onnx")
    image = picture(frame_hw, center, sigma, channel=0 if KINDS[kind].bgr else 2)
    found = found_by(path, image)
    assert found.shape == (1, 5) and found.dtype == np.float32
    left, top, right, bottom, score = found[0]
    np.testing.assert_allclose([(left + right) / 2, (top + bottom) / 2], center, rtol=0, atol=CENTER_PX)
    np.testing.assert_allclose([right - left, bottom - top], 4 * sigma, rtol=SIZE_SHARE)
    assert abs(score - SCORE) < SCORE_TOLERANCE
    assert open_people(f"onnx:{path}").format.name == KINDS[kind].name


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_in_a_grey_picture(tmp_path: Path, kind: str) -> None:
    assert found_by(KINDS[kind].make(tmp_path / "a.onnx"), np.full((60, 90, 3), 114, np.uint8)).shape == (0, 5)


@pytest.mark.parametrize("make", [detectors.yolox, detectors.ultralytics])
def test_an_input_of_float16_or_of_an_open_batch_is_fed(tmp_path: Path, make) -> None:
    image = picture(HW, (70.3, 40.6), 9.0, channel=0 if make is detectors.yolox else 2)
    expected = found_by(make(tmp_path / "a.onnx"), image)
    np.testing.assert_array_equal(found_by(make(tmp_path / "b.onnx", shape=("batch", 3, *HW)), image), expected)
    g = Graph()
    found = spot(g, 114 / 255, 1.0, g("Cast", "images", to=TensorProto.FLOAT))
    boxes, scores = (g("Reshape", each, [1, 1, -1]) for each in (g.joined(*found.corners), found.score))
    half = g.save(tmp_path / "c.onnx", {"boxes": boxes, "scores": scores}, kind=TensorProto.FLOAT16)
    np.testing.assert_allclose(found_by(half, picture(HW, (70.3, 40.6), 9.0, 2))[0, :2], expected[0, :2], atol=0.1)


def test_an_input_of_open_size_is_fed_640_by_640(tmp_path: Path) -> None:
    g = Graph()
    size = g("Cast", g("Shape", "images"), to=TensorProto.FLOAT)  # 1, 3, H, W: as corners of a box
    g.constant(np.array([[[8.0, 4.0]]], np.float32), "ahead")
    box = g("Concat", "ahead", g("Slice", g("Reshape", size, [1, 1, 4]), [2], [4], [2]), axis=2)
    path = g.save(tmp_path / "a.onnx", {"boxes": box, "scores": g.constant(np.array([[0.5]]))}, shape=(1, 3, "h", "w"))
    image = np.zeros((320, 640, 3), np.uint8)  # in the middle of the input: 160 rows of grey above and below
    np.testing.assert_allclose(found_by(path, image), [[7.5, -156.5, 639.5, 479.5, 0.5]], atol=1e-4)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("frame_hw", [(200, 700), (431, 217), (37, 41), HW, (3, 900)])
def test_the_letterbox_keeps_the_shape_and_is_grey_around(frame_hw: tuple[int, int], centered: bool) -> None:
    image = np.full((*frame_hw, 3), 255, np.uint8)
    canvas, scale, offset = letterbox(image, HW, centered)
    rows, columns = (np.flatnonzero((canvas[..., 0] == 255).any(axis=axis)) for axis in (1, 0))
    inner = np.array([len(columns), len(rows)])
    assert canvas.shape == (*HW, 3) and set(np.unique(canvas)) <= {114, 255}
    assert (canvas == 255).all(axis=2).sum() == inner.prod()
    assert (inner == HW[::-1]).any() and (inner <= HW[::-1]).all()
    np.testing.assert_array_equal([columns[0], rows[0]], offset)
    np.testing.assert_allclose(scale * frame_hw[::-1], inner)
    np.testing.assert_allclose(
        inner, np.array(frame_hw[::-1]) * min(HW[0] / frame_hw[0], HW[1] / frame_hw[1]), atol=0.5
    )
    spare = HW[::-1] - inner
    np.testing.assert_array_equal(offset, spare // 2 if centered else 0)


def test_boxes_of_one_person_become_one_and_each_person_keeps_theirs(tmp_path: Path) -> None:
    g = Graph()
    boxes = [[10, 10, 40, 80], [11, 12, 41, 80], [30, 10, 60, 80], [70, 5, 70, 50], [90, 9, 99, 40], [80, 9, 99, 40]]
    scores = [0.5, 0.8, 0.7, 0.9, 0.29, 0.31]
    outputs = {"boxes": g.constant(np.array([boxes], float)), "scores": g.constant(np.array([scores]))}
    found = found_by(g.save(tmp_path / "a.onnx", outputs), np.zeros((*HW, 3), np.uint8))
    expected = [[10.5, 11.5, 40.5, 79.5, 0.8], [29.5, 9.5, 59.5, 79.5, 0.7], [79.5, 8.5, 98.5, 39.5, 0.31]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((np.nan, 5, 9, 9, 0.8), "nan"),
        ((1, 5, np.inf, 9, 0.8), "inf"),
        ((1, 5, 9, 9, np.nan), "nan"),
        ((1, 5, 9, 9, 7.5), "score 7.5"),
    ],
)
def test_boxes_that_cannot_be_are_refused_in_words(tmp_path: Path, values: tuple[float, ...], told: str) -> None:
    g = Graph()
    spread = g.constant(np.array([[[2, 3, 8, 9, 0.9, 0], [*values, 0]]], float))
    path = g.save(tmp_path / "a.onnx", {"output0": spread})
    with pytest.raises(ConfigError, match=r"a\.onnx must give finite boxes .* in frame 7 \(read as end to end\)") as no:
        found_by(path, np.zeros((*HW, 3), np.uint8))
    assert told in str(no.value)


def test_an_odd_box_that_is_no_persons_does_no_harm(tmp_path: Path) -> None:
    g = Graph()
    rows = np.array([[[2, 3, 8, 9, 0.9, 0], [np.nan, 5, 9, 9, 0.9, 3], [np.inf, 5, 9, 9, 0.1, 0]]], float)
    path = g.save(tmp_path / "a.onnx", {"output0": g.constant(rows)})
    np.testing.assert_allclose(found_by(path, np.zeros((*HW, 3), np.uint8)), [[1.5, 2.5, 7.5, 8.5, 0.9]], atol=1e-5)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape)


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ({"output": zeros(1, 7, 10)}, "(1, 7, 10)"),
        ({"output": zeros(1, 1000)}, "output (1, 1000)"),
        ({"output": zeros(1, 314, 85)}, "(1, 314, 85)"),
        ({"output": zeros(2, 300, 6)}, "output (2, 300, 6)"),
        ({"output0": zeros(1, 116, 315), "output1": zeros(1, 32, 24, 40)}, "output0 (1, 116, 315), output1 (1, 32"),
        ({"heatmaps": zeros(1, 14, 24, 40)}, "heatmaps (1, 14, 24, 40)"),
        ({"dets": zeros(1, 5, 4), "labels": zeros(1, 5)}, "dets (1, 5, 4)"),
        ({"boxes": zeros(1, 5, 5), "scores": zeros(1, 5)}, "boxes (1, 5, 5)"),
    ],
)
def test_other_outputs_are_refused_with_what_was_found_and_what_is_understood(tmp_path, outputs, found: str) -> None:
    g = Graph()
    path = g.save(tmp_path / "a.onnx", {name: g.constant(value) for name, value in outputs.items()})
    with pytest.raises(
        ConfigError, match=r"a\.onnx: .*YOLOX .*YOLOv5.*Ultralytics.*end to end.*dets.*boxes"
    ) as refused:
        open_people(f"onnx:{path}")
    assert found in str(refused.value)


@pytest.mark.parametrize(
    "shapes",
    [
        {"boxes": (1, 5, 4), "scores": (1, 5), "labels": (1, 3)},
        {"boxes": (1, 5, 4), "scores": (1, 7)},
        {"dets": (1, 5, 5), "labels": (1, 3)},
    ],
)
def test_boxes_scores_and_labels_must_be_as_many(tmp_path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    g = Graph()
    path = g.save(tmp_path / "a.onnx", {name: g.constant(zeros(*shape)) for name, shape in shapes.items()})
    with pytest.raises(ConfigError, match=r"a\.onnx: outputs must hold as many scores and labels as boxes") as refused:
        open_people(f"onnx:{path}")
    assert all(f"{name} {shape}" in str(refused.value) for name, shape in shapes.items())


@pytest.mark.parametrize(
    ("shape", "kind", "found"),
    [
        ((1, *HW, 3), TensorProto.FLOAT, r"\[1, 96, 160, 3\]"),
        ((1, 3, *HW), TensorProto.UINT8, "uint8"),
        ((4, 3, *HW), TensorProto.FLOAT, r"\[4, 3, 96, 160\]"),
        ((1, 1, *HW), TensorProto.FLOAT, r"\[1, 1, 96, 160\]"),
    ],
)
def test_another_input_is_refused(tmp_path: Path, shape: tuple[int, ...], kind: int, found: str) -> None:
    g = Graph()
    path = g.save(tmp_path / "a.onnx", {"output0": g.constant(zeros(1, 300, 6))}, shape, kind)
    with pytest.raises(
        ConfigError, match=rf"must have one input, \(1, 3, H, W\) float32 or float16, but has .*{found}"
    ):
        open_people(f"onnx:{path}")


def test_a_graph_that_cannot_run_is_refused_when_opened(tmp_path: Path) -> None:
    g = Graph()
    path = g.save(tmp_path / "a.onnx", {"output0": g("Reshape", "images", [1, 77, 6])})
    with pytest.raises(ConfigError, match=r"a\.onnx: ONNX Runtime cannot run it on \(1, 3, 96, 160\) float32"):
        open_people(f"onnx:{path}")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ConfigError, match=r"a\.onnx cannot be loaded by ONNX Runtime"):
        open_people(f"onnx:{tmp_path / 'a.onnx'}")
    for name in ("missing.onnx", ""):
        with pytest.raises(ConfigError, match="no such file"):
            open_people(f"onnx:{tmp_path / name}")


def test_a_missing_runtime_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'hgedge\[onnxruntime\]'"):
        open_people(f"onnx:{detectors.yolox(tmp_path / 'a.onnx')}")


def test_the_class_with_the_highest_score_decides(tmp_path: Path) -> None:
    g = Graph()
    classes = np.zeros((1, 3, 4))
    classes[0] = [[0.4, 0.6, 0, 0], [0.7, 0.6, 0, 0.1], [0, 0, 0.9, 0]]
    boxes = np.array([[[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]], float)
    path = g.save(tmp_path / "a.onnx", {"boxes": g.constant(boxes), "scores": g.constant(classes)})
    found = found_by(path, np.zeros((*HW, 3), np.uint8))
    np.testing.assert_allclose(found, [[19.5, -0.5, 28.5, 8.5, 0.7]], atol=1e-5)
