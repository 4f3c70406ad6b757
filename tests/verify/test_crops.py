"""The first golden input of a face model is judged as that of a body is."""

import numpy as np
import pytest

from hgedge import geometry
from hgedge.builder.golden_crops import PHOTOGRAPH, first_box, golden_crops
from hgedge.datasets.face_sets import FACE68
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.runtime.preprocess import crop
from hgedge.sources.images import read_picture
from hgedge.spec import InputSpec
from hgedge.verify import crops

SPECS = {
    FACE68: InputSpec((128, 128), "gray", (0.5,), (0.5,)),
    LSP14: InputSpec((192, 192), "rgb", (0.5,) * 3, (0.5,) * 3),
}


@pytest.mark.parametrize("keypoints", SPECS, ids=lambda known: known.name)
def test_the_first_golden_input(keypoints):
    spec, photograph = SPECS[keypoints], read_picture(PHOTOGRAPH)
    box = first_box(photograph, keypoints)
    (stage,), mistakes = crops.golden(golden_crops(spec, keypoints)[0], photograph, box)
    assert stage.ok and not mistakes

    affine = geometry.frame_from_input(box, spec.hw)
    affine[:, 2] += affine[:, :2] @ np.array([0.5, 0.5])
    moved = np.empty((*spec.hw, spec.channels), np.uint8)
    crop(photograph, affine, moved)
    (stage,), mistakes = crops.golden(moved, photograph, box)
    assert stage.ok is False and [mistake.name for mistake in mistakes] == ["half-pixel"]
