"""TensorRT and TensorRT-RTX on a GPU: heatmaps as ONNX Runtime's, at every size, in any thread, as a CUDA graph.

Which engines of TensorRT-RTX run on a GPU that its enum does not name is an open question: those that do pass here,
those that do not are skipped with what the library said.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from hgedge import backends
from hgedge import bundle as bundles
from hgedge.backends.base import normalised
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.backends.tensorrt.inspector import summary
from hgedge.builder import BuildOptions, build
from hgedge.errors import BackendUnavailable, EngineMismatch, ExportError, KernelError
from hgedge.models.zoo import shipped_half
from hgedge.runtime.pipeline import load
from tests.backends.gpu.checks import check_any_number, check_capture, check_threads
from tests.runtime.cuda.gpu.conftest import cuda, real_device, simulated  # noqa: F401

pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt, pytest.mark.slow]

SIZES = (1, 2, 4, 8, 16)
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2}  # of heatmaps up to 1: other kernels, without TF32; FP16's rounding adds up
KERNEL_TYPES = {"fp32": "f32", "fp16": "f16"}
ENGINES = {
    "tensorrt": {},
    "tensorrt-rtx": {},
    "tensorrt-rtx current": {"gpu_capability": ("current",)},
    "tensorrt-rtx 8.0": {"gpu_capability": ("8.0",)},
}


@pytest.fixture(scope="module")
def crops():
    """(17, H, W, 3) uint8: the golden inputs, each shifted otherwise."""
    with np.load(shipped_half("default") / "golden.npz") as golden:
        inputs = golden["crops"]
    return np.stack([np.roll(inputs[index % len(inputs)], 7 * index, axis=1) for index in range(17)])


@pytest.fixture(scope="module")
def expected(crops):
    """(17, K, h, w) float32."""
    network = onnxruntime.InferenceSession(shipped_half("default") / "source.onnx", providers=["CPUExecutionProvider"])
    images = normalised(crops, bundles.read_manifest(shipped_half("default")).input)
    return network.run(["heatmaps"], {"image": images})[0]


@pytest.fixture(scope="module")
def bundle(request, cuda, simulated, crops, tmp_path_factory):  # noqa: F811
    """A bundle of this engine and precision, built here, that runs here."""
    name, precision = request.param
    backend = name.split()[0]
    if simulated:
        pytest.skip("needs a real GPU, and this is the simulated driver")
    reason = backends.why_not_here(backend)
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("engines")
    options = BuildOptions(None, precision, backend, batch=SIZES, output=folder, **ENGINES[name])
    try:
        built = build(options).bundle
        trial = backends.sessions(backend).load(built, bundles.open_bundle(built))
        try:
            trial.run(crops[:1])
        finally:
            trial.close()
    except (EngineMismatch, ExportError, KernelError, BackendUnavailable) as error:
        if backend == "tensorrt":
            raise
        pytest.skip(f"{name} engines do not run on {gpu().name} ({', '.join(gpu().features)}): {error}")
    return built


@pytest.fixture(scope="module")
def session(bundle):
    manifest = bundles.open_bundle(bundle)
    session = backends.sessions(manifest.backend.name).load(bundle, manifest)
    session.precision, session.spec, session.folder = manifest.precision, manifest.input, bundle
    yield session
    session.close()


every_engine = pytest.mark.parametrize(
    "bundle", [(name, precision) for name in ENGINES for precision in TOLERANCE], indirect=True, ids=" ".join
)


@every_engine
def test_every_size(session, crops, expected):
    assert session.sizes == SIZES
    check_any_number(session, crops, expected, TOLERANCE[session.precision])


@every_engine
def test_from_another_thread(session, crops, expected):
    check_threads(session, crops[:3], expected[:3], TOLERANCE[session.precision])


@every_engine
def test_as_a_graph(cuda, session, crops, expected):  # noqa: F811
    if not session.capturable:
        pytest.skip("the library says that this engine cannot be captured")
    check_capture(cuda, session, session.spec, crops, expected, TOLERANCE[session.precision])


@every_engine
def test_the_inspector_is_understood(session):
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'hgedge[build]'")
    nodes = onnx.load(session.folder / "model.onnx").graph.node
    found = summary(session.kernels(), {node.name: node.op_type for node in nodes})
    assert set(found["convolutions"]) == {KERNEL_TYPES[session.precision]}, found["convolutions"]
    assert sum(found["convolutions"].values()) == sum(node.op_type == "Conv" for node in nodes)


@every_engine
def test_the_whole_pipeline(bundle, crops):
    with load(bundle) as pipeline:
        assert pipeline.manifest.measured and pipeline.manifest.agreement["mean_px"] < 1
        poses = [pipeline(np.ascontiguousarray(crops[0]))[0] for _ in range(5)]
    assert all(np.array_equal(pose.keypoints, poses[0].keypoints) for pose in poses)


@pytest.mark.parametrize("flag", ["version_compatible", "hardware_compatible"])
def test_compatible_engines(cuda, real_device, tmp_path, crops, expected, flag):  # noqa: F811
    reason = backends.why_not_here("tensorrt")
    if reason is not None:
        pytest.skip(reason)
    folder = build(BuildOptions(None, "fp16", "tensorrt", output=tmp_path, **{flag: True})).bundle
    session = backends.sessions("tensorrt").load(folder, bundles.open_bundle(folder))
    try:
        check_any_number(session, crops[:2], expected[:2], TOLERANCE["fp16"])
    finally:
        session.close()
