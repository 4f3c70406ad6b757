"""Frame to poses: with a session that sees bright spots, and against the steps taken by hand."""

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest

from hgedge import geometry, sources
from hgedge.backends.torch.session import TorchSession
from hgedge.builder import BuildOptions, build
from hgedge.bundle import open_bundle, seal
from hgedge.checkpoints import load_checkpoint
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import EngineMismatch, ExportError, ShapeError
from hgedge.pose import Frame
from hgedge.runtime.decode import decode
from hgedge.runtime.golden import GOLDEN, load_golden
from hgedge.runtime.pipeline import Pipeline, load, newest
from hgedge.runtime.preprocess import crop
from hgedge.sources import Source, SourceInfo
from hgedge.sources.images import read_picture
from hgedge.spec import DecodeSpec, InputSpec, manifest_from_json
from hgedge.staging import resealed, staged


class BrightSpots:
    """Sees one keypoint: where a crop is brightest, as the mean over each heatmap cell."""

    def run(self, crops):
        count, height, width, _ = crops.shape
        grey = crops.astype(np.float32).mean(axis=3)
        return grey.reshape(count, 1, height // 4, 4, width // 4, 4).mean(axis=(3, 5))

    def close(self):
        pass


@pytest.fixture
def spots():
    one = type(LSP14)("spot", ("spot",), (), (0,))
    return Pipeline(BrightSpots(), InputSpec((96, 64)), one, DecodeSpec())


def frame_with_spots(*centers):
    y, x = np.mgrid[:300, :400]
    light = sum(255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 50) for cx, cy in centers)
    return np.repeat(np.clip(light, 0, 255)[..., None], 3, axis=2).astype(np.uint8)


def test_keypoints_come_back_in_frame_pixels(spots):
    centers = [(80.0, 60.0), (300.0, 220.0), (150.0, 250.0)]
    boxes = [np.array([x - 40, y - 45, x + 20, y + 30]) for x, y in centers]
    poses = spots(frame_with_spots(*centers), boxes)
    for pose, center, box in zip(poses, centers, boxes):
        cell_in_frame = 4 * max((box[2] - box[0]) / 64, (box[3] - box[1]) / 96)
        assert np.abs(pose.keypoints[0] - center).max() <= cell_in_frame / 4 + 0.25
        np.testing.assert_allclose(pose.box_xyxy, box)
    assert [pose.id for pose in poses] == [0, 1, 2]


def test_without_boxes_the_whole_frame_is_one_person(spots):
    (pose,) = spots(frame_with_spots((123.0, 45.0)))
    assert np.abs(pose.keypoints[0] - [123, 45]).max() <= 4 * 400 / 64 / 4 + 0.5
    np.testing.assert_array_equal(pose.box_xyxy, np.float32([-0.5, -0.5, 399.5, 299.5]))
    assert pose.score == pytest.approx(pose.scores[0])


def test_nobody_is_nobody(spots):
    assert spots(frame_with_spots((10.0, 10.0)), []) == []
    assert set(spots.latency_ms) == {"preprocess", "infer", "decode", "total"}


@pytest.mark.parametrize("pixels", ["bgrx", "gray", "nv12"])
def test_frames_of_other_pixels(spots, pixels):
    bgr = frame_with_spots((80.0, 60.0), (300.0, 220.0))
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    chroma = planes[300:].reshape(2, -1).T.reshape(150, 400)  # U and V in turn
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    frame = {"bgrx": np.dstack([bgr, grey]), "gray": grey, "nv12": np.concatenate([planes[:300], chroma])}[pixels]
    boxes = [np.array([50.0, 40, 120, 110]), np.array([270.0, 180, 350, 260])]
    for ours, theirs in zip(spots(frame, boxes, pixels), spots(bgr, boxes)):
        np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)  # the spots have no colour
    np.testing.assert_array_equal(spots(frame, pixels=pixels)[0].box_xyxy, np.float32([-0.5, -0.5, 399.5, 299.5]))


@pytest.mark.parametrize("box", [[0, 0, 0, 10], [0, 0, 10], [0, 0, np.nan, 10], [10, 10, 5, 20]])
def test_boxes_that_are_none_are_refused(spots, box):
    with pytest.raises(ShapeError, match="a box must"):
        spots(frame_with_spots((10.0, 10.0)), [np.array(box, float)])


def test_other_frames_are_refused(spots):
    with pytest.raises(ShapeError, match=r"a frame must be \(H, W, 3\) uint8"):
        spots(np.zeros((10, 10), np.uint8))
    with pytest.raises(ShapeError, match=r"a frame must be \(H, W\) uint8"):
        spots(np.zeros((10, 10, 3), np.uint8), pixels="gray")


def test_a_camera_of_nv12_is_streamed_as_bgr(spots, monkeypatch):
    nv12 = np.random.default_rng(0).integers(16, 240, (90, 80), np.uint8)
    frames = (Frame(nv12, number, 0.0, 0.0, 0.0, pixels="nv12") for number in range(2))
    monkeypatch.setattr(sources, "open_source", lambda name: Source(SourceInfo("camera", (80, 60)), frames))
    bgr = cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12)
    for frame, (pose,) in spots.stream(0):
        np.testing.assert_array_equal(frame, bgr)
        np.testing.assert_array_equal(pose.keypoints, spots(bgr)[0].keypoints)


CPU_ALONE = """
import sys
from hgedge.runtime.pipeline import load
with load(sys.argv[1]) as pipeline:
    assert type(pipeline).__name__ == "Pipeline"
print([name for name in sys.modules if name.startswith(("pycuda", "hgedge.runtime.cuda"))])
"""


def test_an_engine_of_the_cpu_imports_nothing_of_cuda(bundle, program_environment):
    command = [sys.executable, "-c", CPU_ALONE, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, env=program_environment)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint, tmp_path_factory):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    output = tmp_path_factory.mktemp("engines")
    return build(BuildOptions(str(tiny_checkpoint), precision="fp32", backend="openvino", output=output)).bundle


def test_an_array_that_comes_again_is_read_again(bundle):
    random = np.random.default_rng(0)
    with load(bundle) as engine, load(bundle) as other:
        shape = (1, *engine.input.hw, engine.input.channels)
        kept, wide = np.empty(shape, np.uint8), np.empty((*shape[:3], 2 * shape[3]), np.uint8)
        for crops in (kept, kept, wide[..., ::2], wide[..., ::2], kept, kept[:]):
            crops[...] = random.integers(256, size=shape)
            expected = other.session.run(crops.copy()).copy()
            np.testing.assert_array_equal(engine.session.run(crops), expected)
            crops[...] = 255 - crops
            assert (engine.session.run(crops) != expected).any()


def test_fewer_people_after_more(bundle, picture_folder):
    frame = read_picture(min(picture_folder.iterdir()))
    boxes = [np.array([10.0 * side, 5, 60 + 10 * side, 70]) for side in range(3)]
    with load(bundle) as engine:
        alone = [engine(frame, [box])[0] for box in boxes]
        for count in (3, 1, 2, 3):
            for pose, expected in zip(engine(frame, boxes[:count]), alone):
                np.testing.assert_array_equal(pose.keypoints, expected.keypoints)
            assert len(engine(frame, boxes[:count])) == count


def test_equals_the_steps_by_hand_on_photographs(bundle, tiny_checkpoint, picture_folder):
    checkpoint = load_checkpoint(tiny_checkpoint)
    session = TorchSession(checkpoint.net, checkpoint.input)
    with load(bundle) as engine:
        for path in sorted(picture_folder.iterdir())[:5]:
            frame = cv2.imread(str(path))
            affine = geometry.frame_from_input(geometry.whole_frame_box(frame.shape[:2]), (64, 64))
            cropped = np.empty((1, 64, 64, 3), np.uint8)
            crop(frame, affine, cropped[0])
            keypoints, scores = decode(session.run(cropped))
            (pose,) = engine(frame)
            np.testing.assert_allclose(pose.keypoints, geometry.transform(affine, keypoints[0]), atol=1e-3)
            np.testing.assert_allclose(pose.scores, scores[0], rtol=1e-3, atol=1e-4)


def test_stream_gives_what_calls_give(bundle, picture_folder):
    with load(bundle) as engine:
        streamed = list(engine.stream(picture_folder))
        assert len(streamed) == 40
        for path, (frame, poses) in list(zip(sorted(picture_folder.iterdir()), streamed))[::10]:
            np.testing.assert_array_equal(frame, read_picture(path))
            np.testing.assert_array_equal(poses[0].keypoints, engine(frame)[0].keypoints)


def variant(bundle, name, age_s, **backend):
    """A bundle beside another one, its manifest changed, made `age_s` seconds earlier."""
    manifest = manifest_from_json((bundle / "manifest.json").read_text(), name)
    changed = type(manifest)(
        **{**vars(manifest), "backend": type(manifest.backend)(**{**vars(manifest.backend), **backend})}
    )
    with staged(bundle.parent / name, force=False) as folder:
        seal(folder, changed)
    made = (bundle / "manifest.json").stat().st_mtime - age_s
    os.utime(bundle.parent / name / "manifest.json", (made, made))
    return bundle.parent / name


def test_newest_is_the_last_made_that_fits_here(bundle):
    other_version = variant(bundle, "other-version", -10, version="1999.1")
    variant(bundle, "older", 10)
    (bundle.parent / "junk").mkdir()
    (bundle.parent / "junk" / "manifest.json").write_text("junk")
    assert newest(bundle.parent) == bundle
    assert newest(bundle.parent / "nothing") is None
    with pytest.raises(
        EngineMismatch, match=r"was built with openvino 1999\.1, but this machine has .*; rebuild: hgedge"
    ):
        load(other_version)


def unmeasured(bundle, **changed):
    """Make a bundle one whose engine has not run yet."""
    manifest = open_bundle(bundle)
    fp32 = load_golden(bundle / GOLDEN)
    resealed(bundle, replace(manifest, measured=False, agreement=None), {GOLDEN: fp32.save, **changed})
    return manifest


@pytest.fixture
def fresh_bundle(tiny_checkpoint, tmp_path):
    return build(BuildOptions(str(tiny_checkpoint), "fp32", "onnxruntime", output=tmp_path)).bundle


def test_an_engine_is_measured_before_its_first_use(fresh_bundle, caplog):
    before = unmeasured(fresh_bundle)
    caplog.set_level("INFO")
    load(fresh_bundle).close()
    assert "measured before its first use: keypoints lie 0.00 px (mean)" in caplog.text
    after = open_bundle(fresh_bundle)
    assert after.measured and after.agreement == before.agreement and after.files.keys() == before.files.keys()
    assert "engine_heatmaps" in np.load(fresh_bundle / GOLDEN).files
    caplog.clear()
    load(fresh_bundle).close()
    assert not caplog.text


def test_an_engine_that_gives_nan_never_serves(fresh_bundle):
    model = onnx.load(fresh_bundle / "model.onnx")
    bias = next(item for item in model.graph.initializer if len(item.dims) == 1)
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(bias.dims), np.nan, np.float32), bias.name))
    unmeasured(fresh_bundle, **{"model.onnx": lambda path: onnx.save(model, path)})
    for _ in range(2):
        with pytest.raises(ExportError, match="heatmaps that are not finite"):
            load(fresh_bundle)
    assert not open_bundle(fresh_bundle).measured


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_bundle_that_cannot_be_written_is_measured_each_time(fresh_bundle, caplog):
    unmeasured(fresh_bundle)
    fresh_bundle.parent.chmod(0o555)
    try:
        with load(fresh_bundle) as pipeline:
            assert pipeline.manifest.measured
        assert "not noted in the bundle" in caplog.text and not open_bundle(fresh_bundle).measured
    finally:
        fresh_bundle.parent.chmod(0o755)
