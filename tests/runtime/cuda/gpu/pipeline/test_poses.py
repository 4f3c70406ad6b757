"""CudaPipeline finds what the CPU pipeline of the same network finds."""

import cv2
import numpy as np
import pytest

from hgedge.evaluation.flip import FlipTest
from hgedge.geometry import frame_from_input
from hgedge.runtime.cuda.pipeline import CudaPipeline
from hgedge.runtime.pipeline import Pipeline, pipeline_of
from hgedge.runtime.pixels import PIXELS
from hgedge.runtime.preprocess import reference_crop
from hgedge.spec import DecodeSpec
from tests.runtime.cuda.gpu.pipeline.expected import boxes_in, check, check_same, current_context, laid_out, reference
from tests.runtime.cuda.gpu.pipeline.numpy_engine import GREY, POINTS, SPEC, HostSession, StreamSession

pytestmark = pytest.mark.gpu

HALF_SCORES = 4e-3  # a score in float16 is rounded to 2^-11 of it


@pytest.mark.parametrize("graphs", [True, False], ids=["graph", "plain"])
@pytest.mark.parametrize("pixels", PIXELS)
def test_equals_the_cpu_pipeline(made, astronaut, pixels, graphs):
    frame, pipeline = laid_out(astronaut, pixels), made(graphs)
    for count in (20, 16, 3, 1):
        boxes = boxes_in(astronaut, count, seed=count)
        expected = reference(frame, boxes, pixels)
        for _ in range(4 if graphs else 1):  # in either slot, plainly and then captured
            check(pipeline(frame, boxes, pixels), expected)
    check(pipeline(frame, pixels=pixels), reference(frame, pixels=pixels))
    assert pipeline.runner.graphs == (8 if graphs else 0)  # of 1, 4, 16, and 4 after 16, in either slot
    assert current_context() is None


def test_equals_the_cpu_pipeline_on_photographs(made, shared_data):
    pipeline = made()
    for path in sorted((shared_data / "lspet" / "images").glob("*.jpg"))[:12]:
        frame = cv2.imread(str(path))
        boxes = boxes_in(frame, 3)
        check(pipeline(frame, boxes), reference(frame, boxes))


@pytest.mark.parametrize("decode", [DecodeSpec(shift=0.0), DecodeSpec(refinement="dark")], ids=["peak", "dark"])
def test_decodes_as_told(made, astronaut, decode):
    boxes = boxes_in(astronaut, 5)
    check(made(decode=decode)(astronaut, boxes), reference(astronaut, boxes, decode=decode))


@pytest.mark.parametrize("pixels", PIXELS)
def test_a_network_of_grey(made, astronaut, pixels):
    frame, boxes = laid_out(astronaut, pixels), boxes_in(astronaut, 3)
    check(made(spec=GREY)(frame, boxes, pixels), reference(frame, boxes, pixels, GREY))


@pytest.mark.parametrize("half", [(True, False), (False, True), (True, True)], ids=["in", "out", "both"])
def test_an_engine_of_float16(made, astronaut, half):
    boxes = boxes_in(astronaut, 5)
    pipeline = made(half_image=half[0], half_heatmaps=half[1])
    check(pipeline(astronaut, boxes), reference(astronaut, boxes), HALF_SCORES)


def test_graph_and_plain_give_the_same_bits(made, astronaut):
    boxes = boxes_in(astronaut, 3)
    graph, plain, refused = made(sizes=(1, 2)), made(False, sizes=(1, 2)), made(sizes=(1, 2), capturable=False)
    for _ in range(5):
        one, two, three = (pipeline(astronaut, boxes) for pipeline in (graph, plain, refused))
        check_same(one, two)
        check_same(one, three)
    assert graph.runner.graphs == 4 and plain.runner.graphs == refused.runner.graphs == 0


def test_frames_of_other_sizes_and_layouts_in_turn(made, astronaut):
    pipeline = made()
    views = (astronaut, astronaut[:200:2, 50:350], astronaut[::-1, ::-1], astronaut[:301, :77], astronaut[:1, :1])
    for turn in range(3):
        for number, frame in enumerate(views):
            check(pipeline(frame), reference(frame))
            pixels = PIXELS[(turn + number) % 4]
            even = laid_out(astronaut[: 40 + 2 * number, :60], pixels)
            boxes = boxes_in(even, number + 1)
            check(pipeline(even, boxes, pixels), reference(even, boxes, pixels))


def test_nobody_is_nobody(made, astronaut):
    pipeline = made()
    assert pipeline(astronaut, []) == []
    assert set(pipeline.latency_ms) == {"preprocess", "copy", "infer", "decode", "total"}
    ticket = pipeline.submit(astronaut, [])
    assert pipeline.collect(ticket) == pipeline.collect(ticket) == []


def test_latencies_add_up(made, astronaut):
    pipeline = made()
    for _ in range(5):
        pipeline(astronaut, boxes_in(astronaut, 16))
        found = pipeline.latency_ms
        assert list(found) == ["preprocess", "copy", "infer", "decode", "total"]
        assert min(found.values()) >= 0 and found["infer"] > 0
        assert found["total"] >= found["preprocess"] + found["decode"]


def test_another_session_in_its_place(made, astronaut, tmp_path):
    """As a flip test puts it there: crops and decode of the device, the session's own `run` between."""
    pipeline, boxes = made(), boxes_in(astronaut, 4)
    pipeline.session = FlipTest(pipeline.session, POINTS.flip_indices)
    cpu = Pipeline(FlipTest(HostSession(), POINTS.flip_indices), SPEC, POINTS, DecodeSpec())
    cpu.crops = pipeline.crops  # OpenCV's are others
    check(pipeline(astronaut, boxes), cpu(astronaut, boxes))
    assert pipeline(astronaut, []) == []
    cv2.imwrite(str(tmp_path / "it.png"), astronaut)
    for frame, poses in pipeline.stream(tmp_path):
        check(poses, cpu(frame))


def test_crops_and_poses_by_themselves(made, astronaut):
    for spec in (SPEC, GREY):
        pipeline = made(spec=spec)
        affines = [frame_from_input(box, spec.hw) for box in boxes_in(astronaut, 5)]
        grey = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)[..., None]
        exact = np.stack([reference_crop(astronaut if spec is SPEC else grey, one, spec.hw) for one in affines])
        crops = pipeline.crops(astronaut[:, :], affines)
        assert crops.shape == (5, *spec.hw, spec.channels) and crops.dtype == np.uint8
        assert np.abs(crops - exact).max() <= 0.5 + 1e-3  # rounded, from float32
    heatmaps = np.random.default_rng(1).normal(size=(5, 5, 16, 12)).astype(np.float32)
    given = (heatmaps, affines, boxes_in(astronaut, 5))
    check(pipeline.poses(*given), Pipeline.poses(pipeline, *given))
    assert len(pipeline.crops(astronaut, [])) == len(pipeline.poses(heatmaps[:0], [], [])) == 0


def test_a_device_session_gets_this_pipeline(astronaut):
    session = StreamSession()
    with pipeline_of(session, session.spec, POINTS, DecodeSpec()) as pipeline:
        assert isinstance(pipeline, CudaPipeline)
        check(pipeline(astronaut), reference(astronaut))
    assert type(pipeline_of(HostSession(), SPEC, POINTS, DecodeSpec())) is Pipeline
