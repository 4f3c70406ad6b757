"""COCO results, read by COCO's own library."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import ConfigError, SourceError
from hgedge.pose import Frame, Pose
from hgedge.sinks import CocoSink


def frame(index: int, name: str = "") -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index, 0.0, 0.0, 0.0, name)


def pose(x: float, score: float = 0.5) -> Pose:
    points = np.float32([[x, 2.25], [30, 40]])
    return Pose(points, np.float32([0.25, 1]), np.float32([0, 0, 50, 50]), score)


def written(path: Path, *frames: tuple[Frame, list[Pose]]) -> list[dict]:
    with CocoSink(path) as sink:
        for each, poses in frames:
            sink.write(each, poses)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_line_a_person(tmp_path: Path) -> None:
    results = written(
        tmp_path / "out.json", (frame(0), [pose(1), pose(7, 0.75)]), (frame(1), []), (frame(2), [pose(3)])
    )
    assert results[1] == {"image_id": 0, "category_id": 1, "keypoints": [7, 2.25, 0.25, 30, 40, 1], "score": 0.75}
    assert [result["image_id"] for result in results] == [0, 0, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_pycocotools_scores_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools: pip install 'hgedge[bench]'")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    written(tmp_path / "out.json", (frame(0, "000000000139.jpg"), [pose(1)]), (frame(1, "000000000285.jpg"), [pose(5)]))
    truth = coco.COCO()
    people = [
        {"id": image, "image_id": image, "category_id": 1, "keypoints": [x, 2.25, 2, 30, 40, 2], "num_keypoints": 2,
         "area": 1600, "bbox": [0, 0, 40, 40], "iscrowd": 0}
        for image, x in ((139, 1), (285, 5))
    ]  # fmt: skip
    images = [{"id": image} for image in (139, 285)]
    truth.dataset = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    truth.createIndex()
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(str(tmp_path / "out.json")), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array([0.08, 0.08])
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["7.jpg", "000012.png"], [7, 12]),
        (["a.jpg", "b3.jpg"], [0, 1]),
        (["", ""], [0, 1]),
        (["²³.jpg", "x"], [0, 1]),
        (["COCO_val2014_000000000139.jpg", "3.png"], [139, 3]),
    ],
)
def test_a_picture_named_by_a_number_has_it_as_its_id(tmp_path: Path, names: list[str], ids: list[int]) -> None:
    results = written(tmp_path / "out.json", *((frame(index, name), [pose(1)]) for index, name in enumerate(names)))
    assert [result["image_id"] for result in results] == ids


def test_two_pictures_never_share_an_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"two pictures would have the id 1, the latter b\.jpg; give pictures"):
        written(tmp_path / "out.json", (frame(0, "1.jpg"), []), (frame(1, "b.jpg"), []))
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_an_empty_list_and_what_is_no_number_is_zero(tmp_path: Path) -> None:
    assert written(tmp_path / "out.json", (frame(0), [])) == []
    (result,) = written(tmp_path / "out.json", (frame(0), [pose(math.nan, math.nan)]))
    assert result["keypoints"] == [0, 0, 0, 30, 40, 1] and result["score"] == 0


@pytest.mark.parametrize("keep", [False, True])
def test_after_an_exception_nothing_stands_unless_kept(tmp_path: Path, keep: bool) -> None:
    with pytest.raises(RuntimeError), CocoSink(tmp_path / "out.json", keep) as sink:
        sink.write(frame(0), [pose(1)])
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"] * keep
    if keep:
        assert len(json.loads((tmp_path / "out.json").read_text())) == 1


def test_without_a_frame_nothing_stands(tmp_path: Path) -> None:
    with CocoSink(tmp_path / "out.json", keep=True):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tmp_path: Path) -> None:
    sink = CocoSink(tmp_path / "out.json", keep=True)
    sink._file.close()
    sink._file = open("/dev/full", "w", encoding="utf-8")
    with pytest.raises(SourceError, match=r"out\.json cannot be written: No space left on device"), sink:
        sink.write(frame(0), [pose(1)])
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"out\.json cannot be written: there is no folder .*missing; make it first"):
        CocoSink(tmp_path / "missing" / "out.json")
