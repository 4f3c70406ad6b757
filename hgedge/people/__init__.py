"""Who is in a frame: detectors that say where people are, and the follower that keeps its crops on them."""

from __future__ import annotations

from pathlib import Path

from hgedge.errors import ConfigError
from hgedge.people.detector import Detector, WholeFrame
from hgedge.people.follower import Crop, Follower

__all__ = ["Crop", "Detector", "Follower", "open_people"]

ALLOWED = "whole, hog, onnx:PATH or boxes:FILE"


def open_people(spec: str) -> Detector:
    """Open what `--people` names.

    Args:
        spec: "whole" (the frame is one person), "hog" (OpenCV's detector of people who stand upright), "onnx:PATH"
            (a detector of your own) or "boxes:FILE" (boxes that are known).

    Raises:
        ConfigError: It is none of these, or the detector is not one that is understood.
        SourceError: The file of boxes cannot be read, or a line of it is malformed.
        BackendUnavailable: OpenCV or ONNX Runtime is not here, or OpenCV has no such detector.
    """
    kind, colon, name = spec.partition(":")
    if spec == "whole":
        return WholeFrame()
    if spec == "hog":
        from hgedge.people.hog import HogDetector

        return HogDetector()
    if kind == "onnx" and name:
        from hgedge.people.onnx_detector import OnnxDetector

        return OnnxDetector(Path(name))
    if kind == "boxes" and name:
        from hgedge.people.boxes_file import BoxesFile

        return BoxesFile(Path(name))
    hint = f"; {kind}: needs the name of a file after it" if colon and kind in ("onnx", "boxes") else ""
    raise ConfigError(f"people are found by {ALLOWED}, but got {spec!r}{hint}")
