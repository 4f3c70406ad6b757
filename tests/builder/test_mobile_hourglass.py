"""A trained MobileNetV2 hourglass that others published as TFLite, built from ONNX of the same weights.

OpenVINO reads the TFLite file itself: that is the reference, by another road for graph, layout and normalisation.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")
pytest.importorskip("tflite", reason="needs tflite to read the network: pip install 'hgedge[dev]'")
ov = pytest.importorskip("openvino", reason="needs OpenVINO, the reference: pip install 'hgedge[openvino]'")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")

from hgedge.builder import BuildOptions, build  # noqa: E402
from hgedge.bundle import open_bundle  # noqa: E402
from hgedge.runtime.decode import decode  # noqa: E402
from hgedge.runtime.pipeline import load  # noqa: E402
from tests.builder.tflite_to_onnx import Converter  # noqa: E402

SET = """name = "mobile14"
names = ["head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
         "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"]
skeleton = [[0, 1], [1, 2], [2, 3], [3, 4], [1, 5], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10],
            [1, 11], [11, 12], [12, 13]]
flip_indices = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10]
"""
PICTURES = 16
# Relative RMSE of heatmaps; FP32 measured: 5e-6.
FP32_RMSE = 1e-4
INT8_RMSE = 0.4  # measured: 0.28 and 0.32; eight bits a tensor are few for depthwise layers
INT8_NEAR = 0.7  # of the keypoints that are sure (peak above 0.1), within a cell; measured: 0.78 and 0.79


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mobile")
    source = shared_data / "checkpoints" / "mobile_hourglass" / "model.tflite"
    if not source.is_file():
        pytest.skip(f"no {source.name} of the mobile hourglass in ../shared/data")
    onnx.save(Converter(source).convert(), folder / "mobile.onnx")
    (folder / "set.toml").write_text(SET)
    return folder


@pytest.fixture(scope="module")
def pictures(shared_data):
    """(16, 192, 192, 3) uint8 BGR; none of them is one to calibrate with."""
    files = sorted((shared_data / "lspet" / "images").glob("*.jpg"))[4000:][:PICTURES]
    return np.stack([cv2.resize(cv2.imread(str(file)), (192, 192)) for file in files])


@pytest.fixture(scope="module")
def expected(shared_data, pictures):
    """What OpenVINO makes of the TFLite file, (16, 14, 48, 48)."""
    source = shared_data / "checkpoints" / "mobile_hourglass" / "model.tflite"
    compiled = ov.Core().compile_model(source, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([np.array(compiled(p[None].astype(np.float32))[0]) for p in pictures]).transpose(0, 3, 1, 2)


def engine_of(folder, pictures, **options):
    given = {"model": str(folder / "mobile.onnx"), "keypoints": str(folder / "set.toml"), "color": "bgr"}
    report = build(BuildOptions(**given, std=(1 / 255,), output=folder / "engines", **options))
    with load(report.bundle) as engine:
        return report, np.concatenate([engine.session.run(pictures[i : i + 1]).copy() for i in range(len(pictures))])


def relative_rmse(made, expected):
    return float(np.sqrt(np.mean((made - expected) ** 2)) / expected.std())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_fp32(folder, pictures, expected, backend):
    report, made = engine_of(folder, pictures, precision="fp32", backend=backend)
    assert made.shape == expected.shape == (PICTURES, 14, 48, 48)
    assert relative_rmse(made, expected) < FP32_RMSE
    manifest = open_bundle(report.bundle)
    assert (manifest.num_convs, manifest.decode.stride, manifest.keypoints.names[1]) == (157, 4, "neck")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_int8(folder, pictures, expected, picture_folder, backend):
    report, made = engine_of(folder, pictures, precision="int8", backend=backend, calibration=picture_folder)
    ours, theirs = (decode(maps, 4.0)[0] for maps in (made, expected))
    near = float((np.linalg.norm(ours - theirs, axis=-1)[expected.max((2, 3)) > 0.1] <= 4).mean())
    assert report.num_convs_int8 == 149  # what is summed into the heatmaps stays float
    assert relative_rmse(made, expected) < INT8_RMSE
    assert near > INT8_NEAR
