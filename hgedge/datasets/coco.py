"""COCO keypoints, and any data set in COCO's JSON: people with K keypoints of (x, y, v), labelled where v > 0.

Layout: JSON files with `images`, `annotations` and `categories` in the folder or in its `annotations/`; pictures at
`file_name` in the folder itself, `images/`, or a folder called as the end of the JSON's name (`val2017/`).

A file's split is the last of `train`, `val` and `test` in its name (`person_keypoints_val2017.json` is `val`), else its
whole name. Where there is one file, its split is also, or without such a word only, called `all`. Crowds and people
without a labelled keypoint are left out; keypoints that are not K triples are an error. `name` is the annotation's id.

The crop is the square around `bbox` of 1.25 times its longer side, or where an annotation has MPII's `center` and
`scale`, that of side 1.25 x 200 x scale. `unit_px` is 0.6 of the diagonal of `bbox_head` (PoseTrack), `box_size`
(AFLW), or for other sets of faces the distance of the eyes.

Source: Lin et al., "Microsoft COCO", ECCV 2014, and cocodataset.org's data format.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.datasets.annotations import begins_with, fields, numbers, read_json
from hgedge.datasets.center_scale import ENLARGED, box_of_center_scale
from hgedge.datasets.coco_keypoints import keypoint_set_of, labels
from hgedge.datasets.face_sets import eye_distance
from hgedge.datasets.keypoint_sets import COCO17
from hgedge.datasets.mpii_val import HEAD_SHARE
from hgedge.datasets.person import Dataset, Person, box_of_joints
from hgedge.errors import SourceError
from hgedge.geometry import square_box
from hgedge.pose import KeypointSet

FILES = ("*.json or annotations/*.json with images, annotations and keypoints",)
KEYS = (b'"images"', b'"annotations"', b'"keypoints"')
SPLITS = ("train", "val", "test")
SPLIT = re.compile(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])")


def recognises(root: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_files(root))


def splits(root: Path) -> tuple[str, ...]:
    """One for each file, and `all` where there is one."""
    return tuple(_files(root))


def read(root: Path, split: str) -> Dataset:
    """Read the people of one file who have at least one labelled keypoint and are no crowd.

    Raises:
        SourceError: The file cannot be read, or contradicts itself.
    """
    path = _files(root)[split]
    document = read_json(path)
    images, annotations = fields(document, ("images", "annotations"), str(path))
    if not (isinstance(images, list) and isinstance(annotations, list)):
        raise SourceError(f"images and annotations of {path} must be lists")
    named = (fields(image, ("id", "file_name"), f"image of {path}") for image in images)
    files = {str(number): str(name) for number, name in named}
    folder = _picture_folder(root, path, list(files.values()))
    keypoint_set = keypoint_set_of(document, path)
    people = []
    for annotation in annotations:
        where = f"annotation {annotation.get('id') if isinstance(annotation, dict) else annotation!r} of {path}"
        (image_id,) = fields(annotation, ("image_id",), where)
        if str(image_id) not in files:
            raise SourceError(f"{where} is of the image {image_id!r}, which the file does not list")
        person = _person(folder / files[str(image_id)], annotation, keypoint_set, where)
        people += [] if person is None else [person]
    return Dataset("coco" if keypoint_set == COCO17 else keypoint_set.name, split, keypoint_set, tuple(people))


def _person(image: Path, annotation: dict[str, Any], keypoint_set: KeypointSet, where: str) -> Person | None:
    """The person of an annotation; None for crowds and for those without a labelled keypoint."""
    if annotation.get("iscrowd") or not annotation.get("keypoints"):
        return None
    keypoints, labelled = labels(annotation["keypoints"], len(keypoint_set), where)
    if not labelled.any():
        return None
    area = annotation.get("area")
    return Person(
        image,
        keypoints,
        labelled,
        _box(annotation, keypoints, labelled, where),
        unit_px=_unit(annotation, keypoint_set, keypoints, labelled, where),
        area=None if area is None else float(numbers(area, (), f"area of {where}")),
        name=str(annotation.get("id", "")),
    )


def _box(annotation: dict[str, Any], keypoints: np.ndarray, labelled: np.ndarray, where: str) -> np.ndarray:
    if "center" in annotation and "scale" in annotation:
        center = numbers(annotation["center"], (2,), f"center of {where}")
        scale = float(numbers(annotation["scale"], (), f"scale of {where}"))
        return box_of_center_scale(center, ENLARGED * scale, where)
    if "bbox" not in annotation:
        return box_of_joints(keypoints, labelled)
    bbox = numbers(annotation["bbox"], (4,), f"bbox of {where}")
    if not np.isfinite(bbox).all():
        raise SourceError(f"bbox of {where} must be finite, but is {bbox.tolist()}")
    return square_box(np.concatenate([bbox[:2], bbox[:2] + bbox[2:]]), ENLARGED)


def _unit(
    annotation: dict[str, Any], keypoint_set: KeypointSet, keypoints: np.ndarray, labelled: np.ndarray, where: str
) -> float | None:
    if "bbox_head" in annotation:
        return HEAD_SHARE * float(np.hypot(*numbers(annotation["bbox_head"], (4,), f"bbox_head of {where}")[2:]))
    if "box_size" in annotation:
        return float(numbers(annotation["box_size"], (), f"box_size of {where}"))
    return eye_distance(keypoint_set, keypoints, labelled)


def _picture_folder(root: Path, path: Path, names: list[str]) -> Path:
    """Where the pictures lie: the first of the usual folders that has one of them, else the likeliest."""
    ending = path.stem.rpartition("_")[2]
    folders = [root / "images", root, root / ending, root / "images" / ending]
    found = (folder for folder in folders if any((folder / name).is_file() for name in names))
    return next(found, next(folder for folder in folders if folder.is_dir()))


def _files(root: Path) -> dict[str, Path]:
    """The annotation files of a folder by split."""
    candidates = [*sorted(root.glob("*.json")), *sorted(root.glob("annotations/*.json"))]
    files: dict[str, Path] = {}
    for path in (path for path in candidates if begins_with(path, b"{", KEYS)):
        words = SPLIT.findall(path.stem.lower())
        files[words[-1] if words and words[-1] not in files else path.stem] = path
    if len(files) == 1:
        ((name, path),) = files.items()
        return {name: path, "all": path} if name in SPLITS else {"all": path}
    return files
