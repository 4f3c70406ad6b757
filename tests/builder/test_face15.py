"""A trained hourglass for faces, from its authors' checkpoint to engines: grey, stride 1, BatchNorm and ReLU last.

What the checkpoint gives in FP32 was written down with another PyTorch on another machine.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")
pytest.importorskip("onnxsim", reason="needs the exporter: pip install 'hgedge[export]'")

from hgedge import backends  # noqa: E402
from hgedge.builder import BuildOptions, build  # noqa: E402
from hgedge.bundle import open_bundle  # noqa: E402
from hgedge.datasets.keypoint_sets import FACE15  # noqa: E402
from hgedge.quantization.placement import head_indices  # noqa: E402
from hgedge.runtime.decode import decode  # noqa: E402

CHOSEN = np.r_[:4, 4:1000:48]  # crops that are compared: those with whole maps, and some spread over the rest
MAPS = 2e-5  # maps reach 1; measured: 4e-6
MEAN_PX, FAR_PX = 1.8, 8.0  # INT8 from FP32, of 96; measured: 1.0 and 1.3, 99th percentile 4.5 and 5.4


@pytest.fixture(scope="module")
def faces(shared_data):
    """The crops (N, 96, 96, 1) uint8, and what the checkpoint gives in FP32."""
    with np.load(shared_data / "faces" / "faces96.npz") as crops:
        images = crops["image"]
    with np.load(shared_data / "faces" / "face15_epoch1049_fp32.npz") as reference:
        return images[..., None], dict(reference)


@pytest.fixture(scope="module")
def portable(shared_data, tmp_path_factory):
    """The portable half of the trained network."""
    checkpoint = shared_data / "checkpoints" / "face15_hourglass" / "kd_epoch_1049_model.ckpt"
    if not checkpoint.is_file():
        pytest.skip(f"no {checkpoint.name} in ../shared/data")
    folder = tmp_path_factory.mktemp("portable")
    return build(BuildOptions(model=str(checkpoint), precision="fp32", engine=False, output=folder)).bundle


def run(bundle, crops):
    manifest = open_bundle(bundle)
    session = backends.sessions(manifest.backend.name).load(bundle, manifest)
    try:
        return np.concatenate([np.array(session.run(crop[None])) for crop in crops]), manifest
    finally:
        session.close()


def test_the_graph_is_the_networks(portable):
    graph, manifest = onnx.load(portable / "source.onnx"), open_bundle(portable)
    nodes = {node.name: node for node in graph.graph.node}
    assert sum(node.op_type == "Conv" for node in nodes.values()) == 42 == manifest.num_convs
    assert nodes["outs.0.conv"].op_type == "Conv" and nodes["outs.0.conv.relu"].output[0] == "heatmaps"
    assert {nodes[name].name for name in ("stem.conv1", "stem.conv2", "hgs.0.inner.inner.inner.inner.0.conv3")}
    assert not any(node.op_type == "BatchNormalization" and node.input[0].startswith("outs") for node in nodes.values())
    head = {graph.graph.node[index].name for index in head_indices(graph)}
    assert head == {"outs.0.conv", "outs.0.conv.relu"}
    assert (manifest.input.color, manifest.input.hw, manifest.keypoints) == ("gray", (96, 96), FACE15)
    assert (manifest.decode.stride, manifest.decode.shift) == (1, 0)
    onnx.checker.check_model(graph, full_check=True)
    with np.load(portable / "golden.npz") as golden:
        assert golden["crops"].shape[1:] == (96, 96, 1) and golden["fp32_heatmaps"].shape[1:] == (15, 96, 96)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_fp32_engines_find_the_published_peaks(portable, faces, tmp_path, backend):
    pytest.importorskip(backend, reason=f"needs {backend}: pip install 'hgedge[{backend}]'")
    crops, reference = faces
    report = build(BuildOptions(model=str(portable), precision="fp32", backend=backend, output=tmp_path))
    heatmaps, manifest = run(report.bundle, crops[CHOSEN])
    np.testing.assert_allclose(heatmaps[:4], reference["heatmaps_first4"], rtol=0, atol=MAPS)
    keypoints, scores = decode(heatmaps, manifest.decode.stride, manifest.decode.shift)
    np.testing.assert_array_equal(keypoints, reference["peak_xy"][CHOSEN])
    np.testing.assert_allclose(scores, reference["peak_value"][CHOSEN], rtol=0, atol=MAPS)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_int8_engines_stay_near(portable, faces, tmp_path, backend):
    pytest.importorskip(backend, reason=f"needs {backend}: pip install 'hgedge[{backend}]'")
    crops, reference = faces
    (tmp_path / "calibration").mkdir()
    others = np.setdiff1d(np.arange(len(crops)), CHOSEN)
    for index in others[::30]:
        cv2.imwrite(str(tmp_path / "calibration" / f"{index:04}.png"), crops[index])
    options = {"calibration": tmp_path / "calibration", "calibration_images": len(others[::30])}
    report = build(BuildOptions(model=str(portable), precision="int8", backend=backend, output=tmp_path, **options))
    assert report.num_convs_int8 == 41  # all but the head
    heatmaps, manifest = run(report.bundle, crops[CHOSEN])
    keypoints, _ = decode(heatmaps, manifest.decode.stride, manifest.decode.shift)
    distance = np.linalg.norm(keypoints - reference["peak_xy"][CHOSEN], axis=-1)
    assert distance.mean() < MEAN_PX and np.percentile(distance, 99) < FAR_PX
    assert distance.mean() > 0  # it is quantised
