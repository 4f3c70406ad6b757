"""The PyTorch session on a GPU: the same heatmaps from any stream, with nothing allocated and nothing waited for."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from hgedge.backends import device_for
from hgedge.backends.torch.cuda import TorchCudaSession
from hgedge.backends.torch.session import TorchSession
from hgedge.builder import BuildOptions, build
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import BackendUnavailable
from hgedge.runtime.pipeline import load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device that PyTorch can use"),
]

TOLERANCE = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1}  # of the heatmaps' range, at the worst cell
SAME = 1e-3  # of the heatmaps' range: one graph on one input; a kernel may add in any order
SIZES = (1, 2, 4)
FRAMES = 200


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def crops():
    """Noise, each brighter than the one before, so that none's heatmaps pass for another's."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3))
    return (noise * np.array([1, 2, 3, 4])[:, None, None, None] // 4).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(checkpoint, crops):
    """(4, K, h, w) float32 heatmaps of the CPU."""
    return TorchSession(checkpoint.net, checkpoint.input).run(crops)


@pytest.fixture(scope="module", params=TOLERANCE)
def session(request, checkpoint):
    session = TorchCudaSession(checkpoint.net, checkpoint.input, request.param, sizes=SIZES)
    session.precision = request.param
    yield session
    session.close()


def image_of(session, checkpoint, crops):
    """Crops, normalised, as `enqueue` reads them."""
    rgb = torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (checkpoint.input.mean, checkpoint.input.std))
    return ((rgb - mean) / std).to("cuda", torch.float16 if session.half_image else torch.float32).contiguous()


def room_for(session, size):
    dtype = torch.float16 if session.half_heatmaps else torch.float32
    return torch.full(session.heatmaps_shape(size), torch.nan, dtype=dtype, device="cuda")


def near(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.ptp(expected))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_crops(session, crops, expected, count):
    near(session.run(crops[:count]), expected[:count], TOLERANCE[session.precision])


@pytest.mark.parametrize("size", SIZES)
def test_addresses_and_a_stream_of_the_callers(session, checkpoint, crops, expected, size):
    image, heatmaps, stream = image_of(session, checkpoint, crops[:size]), room_for(session, size), torch.cuda.Stream()
    torch.cuda.synchronize()
    session.enqueue(size, image.data_ptr(), heatmaps.data_ptr(), stream.cuda_stream)
    stream.synchronize()
    near(heatmaps.float().cpu().numpy(), expected[:size], TOLERANCE[session.precision])


def test_inferences_on_many_streams_do_not_mix(session, checkpoint, crops):
    """Queued at once, without waiting: each still gives what it gives alone."""
    images = [image_of(session, checkpoint, crops[i : i + 1]) for i in range(len(crops))]
    outputs, streams = [room_for(session, 1) for _ in images], [torch.cuda.Stream() for _ in images]
    torch.cuda.synchronize()
    for _ in range(FRAMES):
        for image, output, stream in zip(images, outputs, streams):
            session.enqueue(1, image.data_ptr(), output.data_ptr(), stream.cuda_stream)
    torch.cuda.synchronize()
    alone = [session.run(crops[i : i + 1]) for i in range(len(crops))]
    assert np.abs(alone[1] - alone[0]).max() > 10 * SAME * np.ptp(alone[0])
    for i, output in enumerate(outputs):
        near(output.float().cpu().numpy(), alone[i], SAME)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_is_allocated_or_waited_for(session, checkpoint, crops):
    image, heatmaps, stream = image_of(session, checkpoint, crops[:1]), room_for(session, 1), torch.cuda.Stream()
    arguments = (1, image.data_ptr(), heatmaps.data_ptr(), stream.cuda_stream)
    session.enqueue(*arguments)
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(FRAMES):
            session.enqueue(*arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def test_two_sessions_in_two_threads(session, checkpoint, crops, expected):
    """Each thread loads a session of its own, which is captured while the other one runs."""
    failures = []

    def work():
        try:
            own = TorchCudaSession(checkpoint.net, checkpoint.input, session.precision, sizes=SIZES)
            for index in range(20):
                count = 1 + index % len(crops)
                near(own.run(crops[:count]), expected[:count], TOLERANCE[session.precision])
            own.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_stream_and_memory_of_pycuda(session, checkpoint, crops, expected):
    """The primary context is shared: neither library copies for the other."""
    driver = pytest.importorskip("pycuda.driver", reason="needs pycuda: pip install 'hgedge[tensorrt]'")
    with session.context:
        image = image_of(session, checkpoint, crops[:1]).cpu().numpy()
        stream = driver.Stream()
        source, target = driver.mem_alloc(image.nbytes), driver.mem_alloc(room_for(session, 1).nbytes)
        driver.memcpy_htod(source, image)
        session.enqueue(1, int(source), int(target), stream.handle)
        stream.synchronize()
        found = np.empty(session.heatmaps_shape(1), np.float16 if session.half_heatmaps else np.float32)
        driver.memcpy_dtoh(found, target)
        source.free()
        target.free()
    near(found.astype(np.float32), expected[:1], TOLERANCE[session.precision])


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_bundle(tiny_checkpoint, crops, expected, tmp_path, precision):
    pytest.importorskip("pycuda.driver", reason="needs pycuda: pip install 'hgedge[tensorrt]'")
    assert device_for("torch").features[0].startswith("sm_")
    options = {"backend": "torch", "precision": precision, "batch": SIZES, "output": tmp_path}
    report = build(BuildOptions(model=str(tiny_checkpoint), **options))
    assert report.agreement is not None
    with load(report.bundle) as pipeline:
        assert isinstance(pipeline.session, TorchCudaSession) and pipeline.session.sizes == SIZES
        near(pipeline.session.run(crops), expected, TOLERANCE[precision])


def test_too_many_at_once_is_told(checkpoint, crops):
    session = TorchCudaSession(checkpoint.net, checkpoint.input)
    torch.cuda.set_per_process_memory_fraction(0.001)  # of what PyTorch may take
    try:
        with pytest.raises(
            BackendUnavailable, match=r"inference of 4096 crops takes more .* Tried to allocate .* free"
        ):
            session.run(np.repeat(crops, 1024, axis=0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        session.close()
