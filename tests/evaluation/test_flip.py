"""The flip test: mirrored maps lie exactly on straight ones, and networks agree."""

import numpy as np

import hgedge.datasets
from hgedge import geometry
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.evaluation.evaluate import pipeline_of
from hgedge.evaluation.flip import FlipTest, unmirror
from hgedge.evaluation.parity import clear_joints
from hgedge.runtime.decode import decode
from hgedge.runtime.preprocess import crop

SIDE, STRIDE = 64, 4
FLIP = list(LSP14.flip_indices)
ROUNDING = 1e-6
NEAR_PX = 6  # further apart, the network has decided for another place
ALIGNED_PX = 0.5  # mean over joints; maps that are off by half a cell give 2, by a cell 4


def mirrored_joints(keypoints):
    """Joints of the mirror image: pixel u becomes SIDE - 1 - u, left becomes right."""
    return (np.array([SIDE - 1, 0]) + keypoints * [-1, 1])[:, FLIP]


def test_a_mirrored_map_is_exactly_that_of_the_mirrored_joints():
    keypoints = np.random.default_rng(0).uniform(4, SIDE - 4, (20, 14, 2))
    everyone = np.ones((20, 14), bool)
    straight, _ = gaussian_heatmaps(keypoints, everyone, (16, 16), STRIDE)
    mirrored, _ = gaussian_heatmaps(mirrored_joints(keypoints), everyone, (16, 16), STRIDE)
    np.testing.assert_allclose(unmirror(mirrored, FLIP), straight, atol=ROUNDING)
    np.testing.assert_array_equal(unmirror(unmirror(straight, FLIP), FLIP), straight)


def test_decoding_and_mirroring_commute():
    heatmaps = np.random.default_rng(1).random((5, 14, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(
        decode(unmirror(heatmaps, FLIP), STRIDE)[0], mirrored_joints(decode(heatmaps, STRIDE)[0]), atol=1e-4
    )


class Painter:
    """A session that sees: joint k lies where the picture's channel is brightest, and batches are recorded."""

    def __init__(self):
        self.batches = []

    def run(self, crops):
        self.batches.append(len(crops))
        cells = crops.reshape(len(crops), 16, STRIDE, 16, STRIDE, 3).mean(axis=(2, 4, 5)).astype(np.float32)
        return np.repeat(cells[:, None], 14, axis=1)

    def close(self):
        self.closed = True


def test_crops_and_mirror_images_run_in_one_batch():
    painter = Painter()
    crops = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    session = FlipTest(painter, LSP14.flip_indices)
    heatmaps = session.run(crops)
    assert painter.batches == [6]
    np.testing.assert_allclose(heatmaps, painter.run(crops), rtol=1e-6)  # what sees alike in mirrors is not changed
    session.close()
    assert painter.closed


def test_a_mirrored_person_gives_the_mirrored_pose(tiny_checkpoint, lspet_crops):
    crops = lspet_crops(4, (SIDE, SIDE))
    with pipeline_of(str(tiny_checkpoint), flip_test=True) as pipeline:
        straight, mirrored = pipeline.session.run(crops), pipeline.session.run(np.ascontiguousarray(crops[:, :, ::-1]))
    np.testing.assert_allclose(unmirror(mirrored, FLIP), straight, atol=1e-4)  # floats add in another order


def test_the_default_model_has_no_side(shared_data):
    """On real photographs the two poses differ by no common shift, as half a cell of misalignment would give."""
    people = hgedge.datasets.open(shared_data / "lspet", "val").people[::25]
    with pipeline_of("default") as pipeline:
        crops = np.empty((len(people), *pipeline.input.hw, 3), np.uint8)
        for person, out in zip(people, crops):
            crop(person.read(), geometry.frame_from_input(person.box_xyxy, pipeline.input.hw), out)
        straight = np.array(pipeline.session.run(crops))
        mirrored = unmirror(np.array(pipeline.session.run(np.ascontiguousarray(crops[:, :, ::-1]))), FLIP)
    apart = (decode(straight)[0] - decode(mirrored)[0])[clear_joints(straight) & clear_joints(mirrored)]
    near = apart[np.abs(apart).max(axis=1) < NEAR_PX]
    assert len(near) > 120
    assert np.abs(near.mean(axis=0)).max() < ALIGNED_PX


def test_bundles_take_the_flip_test(tiny_checkpoint, tiny_bundle, lspet_crops):
    crops = lspet_crops(3, (SIDE, SIDE))
    with pipeline_of(str(tiny_bundle), flip_test=True) as one, pipeline_of(str(tiny_checkpoint), flip_test=True) as two:
        np.testing.assert_allclose(one.session.run(crops), two.session.run(crops), atol=2e-3)  # two libraries
