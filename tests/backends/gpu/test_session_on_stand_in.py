"""How the session uses TensorRT: order of calls, sizes, addresses, memory, errors, shutdown.

NVIDIA's Python module is a stand-in here (stand_in.py); the CUDA device is a real one, or the simulated one on which
`../test_tensorrt_session.py` runs this. test_tensorrt_session.py beside this file asks the real TensorRT.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hgedge import bundle as bundles
from hgedge.backends.base import normalised
from hgedge.backends.tensorrt import engine as engine_module
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.backends.tensorrt.session import TensorRTSession
from hgedge.errors import BackendUnavailable, EngineMismatch, KernelError
from hgedge.models.zoo import shipped_half
from hgedge.runtime.pipeline import check_fits_here, load
from hgedge.spec import BackendInfo, EngineOptions
from tests.backends.gpu.checks import check_any_number, check_capture, check_threads, largest_difference
from tests.backends.gpu.stand_in import SCRATCH_BYTES, plan_of, stand_in
from tests.runtime.cuda.gpu.conftest import cuda  # noqa: F401

pytestmark = pytest.mark.gpu

SIZES = (1, 2, 4)
PLAIN = EngineOptions()
SAME = 1e-5  # of heatmaps up to 1: the same library computes the same graph, in batches of other sizes
HALF = 2e-3  # float16 at both ends, of heatmaps up to 1


@pytest.fixture(scope="module")
def crops():
    """(5, H, W, 3) uint8: the golden inputs."""
    with np.load(shipped_half("default") / "golden.npz") as golden:
        return golden["crops"][np.arange(5) % len(golden["crops"])]


@pytest.fixture(scope="module")
def expected(crops):
    """(5, K, h, w) float32."""
    network = onnxruntime.InferenceSession(shipped_half("default") / "source.onnx", providers=["CPUExecutionProvider"])
    images = normalised(crops, bundles.read_manifest(shipped_half("default")).input)
    return network.run(["heatmaps"], {"image": images})[0]


@pytest.fixture
def bundle(cuda, tmp_path, monkeypatch):  # noqa: F811
    """bundle(trt, **plan): a folder with a plan of the stand-in in it, which is then the library that is installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(trt, options=PLAIN, **plan):
        monkeypatch.setitem(sys.modules, trt.__name__, trt)
        folder = tmp_path / "bundle"
        shutil.copytree(shipped_half("default"), folder)
        (folder / "engine.plan").write_bytes(plan_of((folder / "source.onnx").read_bytes(), SIZES, **plan))
        manifest = dataclasses.replace(
            bundles.read_manifest(folder),
            backend=BackendInfo(trt.__name__.replace("_", "-"), trt.__version__),
            device=gpu(),
            precision="fp32",
            batch=SIZES,
            engine_options=options,
        )
        return folder, bundles.seal(folder, manifest)

    return make


@pytest.fixture
def opened(bundle):
    """opened(trt, **plan): a session, closed after the test."""
    sessions = []

    def make(trt, options=PLAIN, **plan):
        folder, manifest = bundle(trt, options, **plan)
        sessions.append(TensorRTSession(folder, manifest, manifest.backend.name))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def test_any_number_of_crops(opened, crops, expected):
    check_any_number(opened(stand_in()), crops, expected, SAME)


def test_from_another_thread(opened, crops, expected):
    check_threads(opened(stand_in()), crops[:3], expected[:3], SAME)


def test_a_context_a_size_made_once_in_shared_memory(opened, crops):
    trt = stand_in()
    session = opened(trt)
    assert session.sizes == SIZES and not any("context asked" in event for event in trt.events)
    assert session.heatmaps_shape(4) == (4, 14, 48, 48) and not (session.half_image or session.half_heatmaps)
    for count in (1, 4, 2, 3, 5, 1):
        session.run(crops[:count])
    assert [event for event in trt.events if event.startswith(("profile", "shape", "memory"))] == [
        "profile 0", f"memory {SCRATCH_BYTES}", "shape 1",
        "profile 2", f"memory {SCRATCH_BYTES}", "shape 4",
        "profile 1", f"memory {SCRATCH_BYTES}", "shape 2",
    ]  # fmt: skip
    assert trt.events.count("context asked for, USER_MANAGED") == 3
    assert len({session._engine.execution(size).memory[0] for size in SIZES}) == 1


@pytest.mark.parametrize("rtx", [False, True])
def test_addresses_and_a_stream_of_the_callers(opened, cuda, crops, expected, rtx):  # noqa: F811
    session = opened(stand_in(rtx=rtx))
    check_capture(cuda, session, session._input, crops, expected, SAME)


def test_what_was_made_is_freed_in_order_under_the_context(opened, crops):
    trt = stand_in()
    session = opened(trt)
    session.run(crops[:3])
    thread = threading.Thread(target=session.close)
    thread.start()
    thread.join()
    session.close()
    made = [event for event in trt.events if event.endswith(("made", "freed", "without a context"))]
    assert made == [
        "runtime made",
        "engine made",
        *["context made"] * 2,
        *["context freed"] * 2,
        "engine freed",
        "runtime freed",
    ]


def test_floats_of_sixteen_bits_at_the_ends(opened, crops, expected):
    session = opened(stand_in(), half=["image", "heatmaps"])
    assert session.half_image and session.half_heatmaps
    found = session.run(crops[:2])
    assert found.dtype == np.float32 and 0 < largest_difference(found, expected[:2]) < HALF


def test_a_version_that_cannot_be_lent_memory(opened, crops, expected):
    trt = stand_in("8.6.2", lends_memory=False)
    session = opened(trt)
    assert session.capturable and largest_difference(session.run(crops), expected) < SAME
    assert "context asked for, NoneType" in trt.events and not any("memory" in event for event in trt.events)


@pytest.mark.parametrize(
    ("options", "event", "capturable"),
    [
        (EngineOptions(), "host code False, DLA core None", True),
        (EngineOptions(version_compatible=True), "host code True, DLA core None", True),
        (EngineOptions(dla=1), "host code False, DLA core 1", False),
    ],
)
def test_what_a_plan_needs_of_its_runtime(opened, options, event, capturable):
    trt = stand_in()
    assert opened(trt, options).capturable == capturable and event in trt.events


def test_kernels_that_rtx_compiled_are_kept(bundle, crops, tmp_path):
    trt = stand_in("1.7.1", rtx=True)
    folder, manifest = bundle(trt)
    told = "context asked for, DISABLED EAGER USER_MANAGED with "
    for content in (b"", b"kernels of this GPU"):
        session = TensorRTSession(folder, manifest, "tensorrt-rtx")
        session.run(crops[:1])
        session.close()
        assert trt.events.count(f"{told}{content!r}") == 1
    [kept] = (tmp_path / "cache" / "hgedge" / "tensorrt").iterdir()
    assert kept.suffix == ".kernels" and kept.name.startswith("tensorrt_rtx-1.7.1-")
    kept.write_bytes(b"something else")
    session = TensorRTSession(folder, manifest, "tensorrt-rtx")
    session.run(crops[:1])
    session.close()
    assert trt.events.count(f"{told}{b''!r}") == 2 and kept.read_bytes() == b"kernels of this GPU"


def test_what_rtx_cannot_capture_is_not(opened):
    trt = stand_in("1.7.1", rtx=True)
    session = opened(trt)
    assert session.capturable
    trt.fails["capturable"] = "it allocates"
    assert not session.capturable


def test_what_the_engine_tells(opened):
    assert [(kernel.name, kernel.precision) for kernel in opened(stand_in()).kernels()] == [("stem.conv", "f16")]


@pytest.mark.parametrize(
    ("call", "told", "kind", "said"),
    [
        ("deserialize", "wrong tag", EngineMismatch, "engine.plan: .* refuses the engine .*: wrong tag; rebuild: "),
        (
            "deserialize",
            "OutOfMemory",
            BackendUnavailable,
            r"the engine needs \S+ MiB and more, but .* MiB free of .* MiB",
        ),
        (
            "deserialize",
            "CUDA driver version is insufficient",
            BackendUnavailable,
            "needs a newer NVIDIA driver than this",
        ),
        ("context", "out of memory", BackendUnavailable, "an execution context for a batch of 1, but .* free"),
        (
            "context",
            "no such kernel",
            KernelError,
            "refuses an execution context for a batch of 1 on .*: no such kernel",
        ),
        ("profile", "it is taken", KernelError, "refuses an execution context for a batch of 1 on .*: it is taken"),
        ("execute", "illegal address", KernelError, r"10.3.0 refuses a batch of 1 on .* \(sm_\d+\): illegal address"),
    ],
)
def test_what_the_library_refuses(opened, crops, call, told, kind, said):
    trt = stand_in()
    trt.fails[call] = told
    with pytest.raises(kind, match=said):
        opened(trt).run(crops[:1])


def test_activations_that_do_not_fit(opened):
    trt = stand_in()
    with pytest.raises(
        BackendUnavailable, match=r"activations needs 1048576.0 MiB of GPU memory, but .* has .* MiB free"
    ):
        opened(trt, scratch=1 << 40)
    assert trt.events[-2:] == ["engine freed", "runtime freed"]


def test_an_engine_of_another_network(opened, monkeypatch):
    monkeypatch.setattr(engine_module, "HEATMAPS", "maps")
    with pytest.raises(EngineMismatch, match="must have the tensors image and maps, but this one has "):
        opened(stand_in())


def test_the_manifest_is_checked_before_the_plan_is_read(bundle):
    trt = stand_in()
    folder, manifest = bundle(trt)
    assert check_fits_here(folder, manifest) == "tensorrt"
    device = dataclasses.replace(manifest.device, name="NVIDIA H200", features=("sm_90",))
    for wrong in ({"device": device}, {"backend": BackendInfo("tensorrt", "10.2.0")}):
        bundles.seal(folder, dataclasses.replace(manifest, **wrong))
        with pytest.raises(EngineMismatch, match="was built for (NVIDIA H200|tensorrt 10.2.0).*, but this machine has"):
            load(folder)
    assert not trt.events


def test_a_bundle_is_measured_and_runs(bundle, crops):
    trt = stand_in()
    folder, _ = bundle(trt)
    picture = np.ascontiguousarray(crops[0])
    with load(folder) as pipeline:
        assert pipeline.manifest.measured and pipeline.manifest.agreement["p99_px"] < 0.1
        poses = [pipeline(picture)[0] for _ in range(4)]  # plainly, then captured, then as a graph
        assert pipeline.runner._replay.size
    assert all(np.array_equal(pose.keypoints, poses[0].keypoints) for pose in poses)
    assert bundles.read_manifest(folder).measured and Path(folder / "golden.npz").is_file()
    assert trt.events[-1] == "runtime freed" and "without a context" not in " ".join(trt.events)
