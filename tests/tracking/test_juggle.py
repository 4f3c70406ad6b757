"""The default engine on a real video, its crop following the track: who is who, and how still what is still is kept."""

import numpy as np
import pytest

from hgedge import geometry
from hgedge.builder import BuildOptions, build
from hgedge.runtime.pipeline import load
from hgedge.sources import open_source
from hgedge.tracking import Tracker
from hgedge.tracking.body import body_of

pytestmark = pytest.mark.openvino

DETECT_EVERY = 10
ANYWHERE = np.array([300.0, 0.0, 1100.0, 720.0])  # he never leaves it: a detector that knows no better
SLOW = 0.15  # sizes a second
CALMER = 2.5  # 3.4 where it was measured; INT8 engines differ from processor to processor


def crop_of(track):
    """A box around the track's sure joints, where they should be a frame later."""
    pose = track.moved(1 / 24)
    points = pose.keypoints[body_of(pose).believed >= 0.5]
    return geometry.square_box(np.concatenate([points.min(axis=0), points.max(axis=0)]))


@pytest.fixture(scope="module")
def film(shared_data, tmp_path_factory):
    """For each frame what was shown, and the raw pose of the track's crop or of the detection that it began with."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    folder = tmp_path_factory.mktemp("engines")
    bundle = build(BuildOptions(precision="int8", backend="openvino", output=folder)).bundle
    frames = []
    with load(bundle) as pipeline, open_source(shared_data / "videos" / "juggle_247f.mp4") as source:
        tracker = Tracker(pipeline.keypoints)
        for frame in source:
            crops = [(crop_of(track), track.id) for track in tracker.tracks]
            if frame.index % DETECT_EVERY == 0:
                crops.append((ANYWHERE, None))
            poses = pipeline(frame.image, [box for box, _ in crops])
            frames.append((tracker.update(poses, [hint for _, hint in crops], frame.timestamp_s), poses[0]))
    return frames


def test_one_man_is_one_id_all_along(film):
    assert len(film) == 247
    assert [[pose.id for pose in shown] for shown, _ in film] == [[0]] * 247


def test_what_is_still_is_kept_still(film):
    """Jitter is the standard deviation of white noise that has these second differences, where a joint hardly moves."""
    given, seen = (np.stack(poses).astype(float) for poses in zip(*((s[0].keypoints, p.keypoints) for s, p in film)))
    size_px = float(np.median(np.linalg.norm(np.ptp(seen, axis=1), axis=1)))
    mean = np.stack([seen[index : index + 9].mean(axis=0) for index in range(len(seen) - 8)])
    slow = np.linalg.norm(np.gradient(mean, axis=0), axis=2) * 24 < SLOW * size_px
    before, after = (
        [np.sqrt(np.mean(np.diff(joints, n=2, axis=0)[3:-3, joint][slow[:, joint]] ** 2) / 6) for joint in range(14)]
        for joints in (seen, given)
    )
    ratios = np.divide(before, after)
    assert np.median(ratios) >= CALMER, np.round(ratios, 1)
    assert ratios.min() > 1
