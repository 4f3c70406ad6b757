"""Boxes that are known: a file, by frame number (from 0) or by the picture's name.

JSON: a list, or one object a line, of

    {"frame": 0, "box_xyxy": [left, top, right, bottom], "score": 0.9}     score may be left out
    {"image": "a.jpg", "box_xyxy": [...]}
    {"image_id": 139, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}     COCO's detection results
    {"frame": 0, "people": [{"box_xyxy": [...], "score": 0.9, ...}]}     what `hgedge run --jsonl` writes

`image_id` is the number that a picture's name ends with, as COCO's do, or else the frame's; other categories than 1 are
not people. The boxes of `people` are crops, all others are around people. CSV, the first line may name the columns:

    frame,left,top,right,bottom,score     or image,left,...; score may be left out

Several boxes of a frame are several people; a frame without boxes has nobody.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import SourceError
from hgedge.pose import Frame

COLUMNS = ("left", "top", "right", "bottom", "score")
COCO_PERSON = 1
FAR_PX = 1e6
FRAME = re.compile(r"[0-9]{1,12}")
LAST_NUMBER = re.compile(r"([0-9]{1,12})$")

Row = tuple[str, list[float]]  # what the box is of, and left, top, right, bottom, score


class BoxesFile:
    """The boxes of a file; frames that it does not name have nobody.

    Raises:
        SourceError: The file cannot be read, or is malformed: the message says where.
    """

    followed = False

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path} cannot be read as boxes: {error}") from error
        self._boxes: dict[str, list[list[float]]] = {}
        self.cropped = False
        is_json = text.lstrip()[:1] in ("[", "{")
        for key, row in self._json_rows(text) if is_json else _csv_rows(text, path):
            self._boxes.setdefault(key, []).append(row)
        if not self._boxes and text.split() != ["[]"]:
            raise SourceError(f"{path} holds no boxes of people; expected JSON, or CSV of frame,{','.join(COLUMNS)}")

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """The boxes of this frame, or of the picture of this name.

        Raises:
            SourceError: The file goes by names of pictures, and the frame has none.
        """
        stem = Path(frame.name).stem
        number = LAST_NUMBER.search(stem)
        if not frame.name and self._boxes and all(key.startswith("image ") for key in self._boxes):
            raise SourceError(
                f"{self.path} gives boxes by names of pictures, but frames of a video have none; give their numbers"
            )
        image_id = int(number[1]) if number else frame.index
        keys = (f"image {frame.name}", f"image {stem}", f"image_id {image_id}", f"frame {frame.index}")
        rows = next((self._boxes[key] for key in keys if key in self._boxes), [])
        return np.array(rows, np.float32).reshape(-1, 5)

    def _json_rows(self, text: str) -> Iterator[Row]:
        for where, entry in _json_entries(text, self.path):
            if not isinstance(entry, dict):
                raise SourceError(f"{where} must be an object, but is {_short(entry)}")
            key = _key(entry, where)
            if "people" in entry:
                self.cropped = True
                self._boxes.setdefault(key, [])  # nobody is somebody's answer too
                people = entry["people"]
                if not isinstance(people, list):
                    raise SourceError(f"{where}: people must be a list, but is {_short(people)}")
                yield from ((key, _row(person, "box_xyxy", where)) for person in people)
            elif "bbox" not in entry:
                yield key, _row(entry, "box_xyxy", where)
            elif entry.get("category_id", COCO_PERSON) == COCO_PERSON:
                yield key, _row(entry, "bbox", where)


def _json_entries(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """The items of a list, or the objects of JSON lines, each with what messages call it."""
    try:
        if text.lstrip().startswith("["):
            yield from ((f"item {index} of {path}", item) for index, item in enumerate(json.loads(text), 1))
            return
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not a list in JSON: {error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield f"line {number} of {path}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"line {number} of {path} is not JSON: {error}") from None


def _key(entry: dict[str, Any], where: str) -> str:
    """What a box is of: "frame 3", "image a.jpg" or "image_id 139"."""
    for name in ("frame", "image_id"):
        if type(entry.get(name)) is int and entry[name] >= 0:
            return f"{name} {entry[name]}"
    for name in ("image", "image_id"):
        if isinstance(entry.get(name), str) and entry[name]:
            return f"image {Path(entry[name]).name}"
    found = {name: entry[name] for name in ("frame", "image", "image_id") if name in entry}
    raise SourceError(
        f"{where} must have a frame (a number from 0), the name of an image or an image_id, but has "
        f"{_short(found or list(entry))}"
    )


def _row(person: Any, field: str, where: str) -> list[float]:
    """Left, top, right, bottom and score of a person; `bbox` is a corner and the size, as in COCO."""
    entry = person if isinstance(person, dict) else {}
    box, score = entry.get(field), entry.get("score", 1.0)
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in (*box, score)):
        raise SourceError(
            f"{where}: {field} must be four numbers, and score one if it is there, but got {_short(person)}"
        )
    left, top, right, bottom = box
    return _checked([left, top, left + right, top + bottom] if field == "bbox" else box, score, where)


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    by_name = False
    for number, cells in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in cells]
        where = f"line {number} of {path}"
        if not any(cells):
            continue
        if number == 1 and cells[0].lower() in ("frame", "image"):
            by_name = cells[0].lower() == "image"
            if tuple(map(str.lower, cells[1:])) in (COLUMNS, COLUMNS[:-1]):
                continue
            raise SourceError(f"{where} must name the columns {','.join(COLUMNS)} after the first, but is {cells}")
        try:
            left, top, right, bottom, *score = map(float, cells[1:])
        except ValueError:
            score = [1.0, 1.0]
        if not cells[0] or len(score) > 1:
            raise SourceError(f"{where} must be frame,{','.join(COLUMNS)} (score may be left out), but is {cells}")
        key = f"image {Path(cells[0]).name}" if by_name or not FRAME.fullmatch(cells[0]) else f"frame {int(cells[0])}"
        yield key, _checked([left, top, right, bottom], score[0] if score else 1.0, where)


def _checked(box: list[float], score: float, where: str) -> list[float]:
    left, top, right, bottom = box
    if not all(abs(value) < FAR_PX for value in (*box, score)) or right <= left or bottom <= top:
        raise SourceError(
            f"{where}: a box must be finite, with right > left and bottom > top, but is {box} with score {score}"
        )
    return [*box, score]


def _short(value: Any) -> str:
    return f"{value!r:.100}"
