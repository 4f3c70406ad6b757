"""What goes wrong is told, leaves nothing behind, and the next frame works."""

import gc
import subprocess
import sys

import numpy as np
import pytest

from hgedge.errors import BackendUnavailable, KernelError, ShapeError
from hgedge.runtime.cuda.pipeline import CudaPipeline
from hgedge.spec import DecodeSpec
from tests.runtime.cuda.gpu.pipeline.expected import boxes_in, check, reference
from tests.runtime.cuda.gpu.pipeline.numpy_engine import POINTS, StreamSession

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    ("frame", "pixels", "said"),
    [
        (np.zeros((10, 10), np.uint8), "bgr", r"must be \(H, W, 3\) uint8, BGR, but got shape \(10, 10\) uint8"),
        (np.zeros((10, 10, 3), np.float32), "bgr", r"got shape \(10, 10, 3\) float32"),
        (np.zeros((10, 10), np.uint8), "nv12", r"a frame must be \(H \* 3"),
        (np.zeros((10, 10, 3), np.uint8), "rgb", "pixels must be one of bgr, bgrx, nv12, gray"),
    ],
)
def test_other_frames_are_refused(made, astronaut, frame, pixels, said):
    pipeline = made()
    with pytest.raises(ShapeError, match=said):
        pipeline(frame, pixels=pixels)
    check(pipeline(astronaut), reference(astronaut))


@pytest.mark.parametrize("box", [[0, 0, 0, 10], [0, 0, 10], [0, 0, np.nan, 10], [0, 0, 1e12, 1e12]])
def test_boxes_that_are_none_are_refused(made, astronaut, box):
    pipeline = made()
    with pytest.raises(ShapeError, match=r"a box must|a crop must lie within"):
        pipeline(astronaut, [np.array([0.0, 0, 10, 10]), np.array(box, float)])
    check(pipeline(astronaut), reference(astronaut))


@pytest.mark.parametrize("graphs", [True, False], ids=["graph", "plain"])
@pytest.mark.parametrize("call_number", [1, 2, 3])
def test_an_engine_that_fails_is_told_and_the_next_frame_works(made, astronaut, graphs, call_number):
    """Each frame has two batches, so one may be under way when the other fails; the next frame needs more room."""
    session = StreamSession(sizes=(1, 2))
    pipeline, boxes = made(graphs, session=session), boxes_in(astronaut, 3)
    session.fails_in = call_number
    failures = 0
    for number in range(6):
        frame = astronaut[: 200 + 40 * number]
        try:
            check(pipeline(frame, boxes), reference(frame, boxes))
        except KernelError as error:
            assert str(error) == "the engine fails"
            failures += 1
    assert failures == 1 and pipeline.runner.under_way == 0


def test_no_memory_for_the_engine_leaves_nothing_behind(live):
    session = StreamSession()
    before = live()
    session.heatmaps_shape = lambda size: (size, 5, 2**20, 2**18)  # no device has room for them
    said = r"the heatmaps of 16 people needs \d+\.0 MiB of GPU memory, but .* free of .* MiB; give fewer people"
    with pytest.raises(BackendUnavailable, match=said):
        CudaPipeline(session, session.spec, POINTS, DecodeSpec())
    assert live() == before and session.closed == 0
    session.close()


def test_no_memory_for_a_frame_is_told_and_the_next_frame_works(made, astronaut):
    pipeline = made()
    vast = np.broadcast_to(np.uint8(0), (2**21, 2**21 - 2, 3))  # 13 TB, of which one byte exists
    for _ in range(3):
        with pytest.raises(BackendUnavailable, match=r"a frame needs .* MiB of pinned host memory"):
            pipeline(vast)
        check(pipeline(astronaut), reference(astronaut))


def test_after_close(made, astronaut, live, root):
    before = live()
    pipeline = made()
    done, flying = pipeline.submit(astronaut), pipeline.submit(astronaut)
    poses = pipeline.collect(done)
    pipeline.close()
    pipeline.close()
    assert live() == before
    assert pipeline.runner.session.closed == 1
    assert pipeline.collect(done) is poses
    uses = (
        lambda: pipeline(astronaut),
        lambda: pipeline.collect(flying),
        lambda: pipeline.crops(astronaut, [np.eye(2, 3)]),
        lambda: next(pipeline.stream(root / "hgedge" / "pictures" / "astronaut.jpg")),
    )
    for use in uses:
        with pytest.raises(BackendUnavailable, match=r"closed; load its bundle again: hgedge\.load\(BUNDLE\)"):
            use()


def test_a_pipeline_that_nobody_closes_is_freed(astronaut, live):
    before = live()
    session = StreamSession()
    pipeline = CudaPipeline(session, session.spec, POINTS, DecodeSpec())
    pipeline.submit(astronaut)
    del pipeline
    gc.collect()
    assert session.closed == 1 and live() == before


UNCLOSED = """
import sys
import numpy as np
from hgedge.runtime.pipeline import pipeline_of
from hgedge.spec import DecodeSpec
from tests.runtime.cuda.gpu.pipeline.numpy_engine import POINTS, StreamSession
session = StreamSession()
pipeline = pipeline_of(session, session.spec, POINTS, DecodeSpec())
for _ in range(3):
    ticket = pipeline.submit(np.zeros((100, 100, 3), np.uint8))
print(type(pipeline).__name__, len(pipeline.collect(ticket)))
pipeline.submit(np.zeros((100, 100, 3), np.uint8))
"""


def test_python_ends_quietly_with_a_pipeline_open(program_environment):
    command = [sys.executable, "-W", "error", "-c", UNCLOSED]
    done = subprocess.run(command, capture_output=True, text=True, env=program_environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "CudaPipeline 1\n", "")
