from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import SourceError
from hgedge.people import open_people
from hgedge.pose import Frame, Pose
from hgedge.sinks.jsonl import JsonlSink

IMAGE = np.zeros((40, 60, 3), np.uint8)


def boxes_of(path: Path, index: int = 0, name: str = "") -> list[list[float]]:
    found = open_people(f"boxes:{path}").detect(Frame(IMAGE, index, 0.0, 0.0, 0.0, name), IMAGE)
    assert found.dtype == np.float32 and found.shape[1] == 5
    return found.astype(np.float64).round(4).tolist()


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_list_by_frame_number(tmp_path: Path) -> None:
    items = [
        {"frame": 2, "box_xyxy": [1, 2, 30, 40], "score": 0.5},
        {"frame": 0, "box_xyxy": [0.5, 1, 2, 3]},
        {"frame": 2, "box_xyxy": [5, 6, 7, 8]},
    ]
    path = written(tmp_path / "a.json", items)
    assert boxes_of(path) == [[0.5, 1, 2, 3, 1]]
    assert boxes_of(path, 1) == []
    assert boxes_of(path, 2) == [[1, 2, 30, 40, 0.5], [5, 6, 7, 8, 1]]
    assert not open_people(f"boxes:{path}").cropped and not open_people(f"boxes:{path}").followed


def test_lines_by_the_name_of_a_picture(tmp_path: Path) -> None:
    lines = '{"image": "sub/a.jpg", "box_xyxy": [1, 2, 3, 4]}\n\n{"image": "b", "box_xyxy": [5, 6, 7, 8]}\n'
    path = written(tmp_path / "a.jsonl", lines)
    assert boxes_of(path, 7, "a.jpg") == [[1, 2, 3, 4, 1]]
    assert boxes_of(path, 8, "b.png") == [[5, 6, 7, 8, 1]]
    assert boxes_of(path, 0, "c.jpg") == []
    with pytest.raises(SourceError, match="by names of pictures, but frames of a video have none"):
        boxes_of(path)


def test_detection_results_of_coco(tmp_path: Path) -> None:
    items = [
        {"image_id": 139, "category_id": 1, "bbox": [10, 20, 5, 6], "score": 0.9},
        {"image_id": 139, "category_id": 18, "bbox": [0, 0, 5, 6], "score": 0.8},
        {"image_id": 4, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.7},
    ]
    path = written(tmp_path / "a.json", items)
    assert boxes_of(path, 0, "000000000139.jpg") == [[10, 20, 15, 26, 0.9]]
    assert boxes_of(path, 0, "COCO_train2014_000000000139.jpg") == [[10, 20, 15, 26, 0.9]]
    assert boxes_of(path, 4) == [[1, 1, 3, 3, 0.7]]


def test_published_detections_of_coco_are_read(shared_data: Path) -> None:
    file = shared_data / "fixtures" / "coco" / "test_coco_det_AP_H_56.json"
    items = json.loads(file.read_text())
    number = items[0]["image_id"]
    expected = [
        [*item["bbox"][:2], item["bbox"][0] + item["bbox"][2], item["bbox"][1] + item["bbox"][3], item["score"]]
        for item in items
        if item["image_id"] == number and item["category_id"] == 1
    ]
    found = boxes_of(file, 0, f"{number:012}.jpg")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_what_a_run_wrote_gives_its_crops_again(tmp_path: Path) -> None:
    box = np.array([3.25, -4.5, 20.75, 13.0], np.float32)
    pose = Pose(np.zeros((2, 2), np.float32), np.array([0.5, 0.7], np.float32), box, 0.6, 4)
    path = tmp_path / "poses.jsonl"
    with JsonlSink(path) as sink:
        for index, poses in enumerate([[pose, pose], []]):
            sink.write(Frame(IMAGE, index, 0.0, 0.0, 0.0), poses, {})
    assert boxes_of(path) == [[3.25, -4.5, 20.75, 13.0, 0.6]] * 2
    assert boxes_of(path, 1) == boxes_of(path, 2) == []
    assert open_people(f"boxes:{path}").cropped


@pytest.mark.parametrize("header", ["", "frame,left,top,right,bottom,score\n", "Frame, left, top, right, bottom\n"])
def test_csv_by_frame_number(tmp_path: Path, header: str) -> None:
    path = written(tmp_path / "a.csv", "\ufeff" + header + "0, 1,2, 3.5,4\r\n\r\n3,5,6,7,8,0.25\r\n")
    assert boxes_of(path) == [[1, 2, 3.5, 4, 1]]
    assert boxes_of(path, 3) == [[5, 6, 7, 8, 0.25]]


def test_csv_by_the_name_of_a_picture(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "image,left,top,right,bottom\n0001,1,2,3,4\nx/b.jpg,5,6,7,8\n")
    assert boxes_of(path, 5, "0001.png") == [[1, 2, 3, 4, 1]]
    assert boxes_of(path, 1, "b.jpg") == [[5, 6, 7, 8, 1]]
    assert boxes_of(written(tmp_path / "b.csv", "b.jpg,5,6,7,8"), 1, "b.jpg") == [[5, 6, 7, 8, 1]]


def test_a_list_of_nobody_is_nobody(tmp_path: Path) -> None:
    assert boxes_of(written(tmp_path / "a.json", "[]\n")) == []
    assert boxes_of(written(tmp_path / "a.jsonl", '{"frame": 0, "people": []}')) == []


GOOD = '{"frame": 0, "box_xyxy": [1, 2, 3, 4]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no boxes"),
        ("\n \n", "holds no boxes"),
        ("[{", "is not a list in JSON"),
        ("[" * 100_000, "is not a list in JSON"),
        ("[1]", "item 1 of .* must be an object, but is 1"),
        (f"[{GOOD}, {{}}]", "item 2 of .* must have a frame .* but has "),
        (GOOD + "\n{", "line 2 of .* is not JSON"),
        (GOOD + '\n\n{"frame": 1}', "line 3 of .*: box_xyxy must be four numbers"),
        (GOOD.replace("0,", "-1,"), "line 1 of .* must have a frame"),
        (GOOD.replace("0,", "true,"), "line 1 of .* must have a frame"),
        (GOOD.replace("0,", "1.5,"), "line 1 of .* must have a frame"),
        (GOOD.replace("1, 2", "NaN, 2"), "line 1 of .* must be finite"),
        (GOOD.replace("1, 2", "1e999, 2"), "line 1 of .* must be finite"),
        (GOOD.replace("1, 2", "1" + "0" * 400 + ", 2"), "line 1 of .* must be finite"),
        (GOOD.replace("1, 2", '"1", 2'), "line 1 of .* must be four numbers"),
        (GOOD.replace("1, 2", "3, 2"), "right > left"),
        (GOOD.replace("}", ', "score": null}'), "score one if it is there"),
        ('{"image": "", "box_xyxy": [1, 2, 3, 4]}', "the name of an image"),
        ('{"image_id": 3, "bbox": [1, 2, 0, 4]}', "right > left"),
        ('{"frame": 3, "people": {}}', "people must be a list"),
        ('{"frame": 3, "people": [{"box_xyxy": [1, 2, 3]}]}', "line 1 of .*: box_xyxy must be four numbers"),
        ('{"frame": 3, "people": [3]}', "line 1 of .*: box_xyxy must be four numbers"),
        ("0,1,2,3,4\n0,1,2,3", "line 2 of .* must be frame,left"),
        ("0,1,2,3,4\n1,1,-1,339,172,1,-1,-1,-1", "line 2 of .* must be frame,left"),
        ("0,1,2,x,4", "line 1 of .* must be frame,left"),
        (",1,2,3,4", "line 1 of .* must be frame,left"),
        ("0,1,2,nan,4", "line 1 of .* must be finite"),
        ("0,5,2,3,4", "right > left"),
        ("frame,x,y,w,h\n0,1,2,3,4", "line 1 of .* must name the columns left,top,right,bottom,score"),
    ],
)
def test_what_is_malformed_is_told_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        open_people(f"boxes:{written(tmp_path / 'boxes.txt', content)}")
    assert "boxes.txt" in str(refused.value) and len(str(refused.value)) < 600


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("missing.json", "binary", ""):
        with pytest.raises(SourceError, match="cannot be read as boxes"):
            open_people(f"boxes:{tmp_path / name}")
