from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hgedge.errors import ConfigError
from hgedge.people import open_people
from hgedge.pose import Frame


@pytest.mark.parametrize("spec", ["", "yolo", "whole:", "hog:x", "WHOLE", "onnx", "onnx:", "boxes:", "boxes", ":x"])
def test_what_is_none_of_the_kinds_is_refused_with_those_there_are(spec: str) -> None:
    with pytest.raises(ConfigError, match="whole, hog, onnx:PATH or boxes:FILE") as refused:
        open_people(spec)
    assert repr(spec) in str(refused.value)
    assert ("needs the name of a file" in str(refused.value)) == (spec in ("onnx:", "boxes:"))


def test_the_whole_frame_is_one_person() -> None:
    image = np.zeros((48, 80, 3), np.uint8)
    detector = open_people("whole")
    found = detector.detect(Frame(image, 0, 0.0, 0.0, 0.0), image)
    assert found.dtype == np.float32 and found.tolist() == [[-0.5, -0.5, 79.5, 47.5, 1.0]]
    assert detector.cropped and not detector.followed


def test_the_room_loads_neither_opencv_nor_onnx_runtime(program_environment: dict[str, str]) -> None:
    code = "import sys, hgedge.people; sys.exit('cv2' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=program_environment).returncode == 0
