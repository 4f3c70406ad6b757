"""Better weights for the same bits: what correcting biases for the rounding of weights brings. Measured, and not kept.

Rounding a weight W to Wq moves the mean of what its convolution makes by (Wq - W) E[x], with E[x] the mean of each
channel that it reads, over pixels and calibration pictures. The correction takes that from the bias.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2.
"""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from hgedge.backends.openvino.build import build as build_engine
from hgedge.builder import BuildOptions, build
from hgedge.builder.calibration import from_dataset
from hgedge.builder.pictures import Pictures
from hgedge.bundle import read_manifest, seal
from hgedge.datasets import open as open_dataset
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report
from hgedge.progress import no_progress
from hgedge.quantization.insert_qdq import quantized_weight
from hgedge.quantization.placement import head_indices

pytestmark = pytest.mark.soak

IMAGES = 128
PLACEMENTS = ("stream", "conv")
MODELS = {  # data set, its splits to learn from and to score on, loose metric, tight metric
    "default": ("lspet", "train", "val", "PCK@0.2 pooled", "PCK@0.05 pooled"),
    "face68": ("faces", "train", "val", "within@0.1 pooled", "within@0.03 pooled"),
}


@pytest.mark.parametrize("model", MODELS)
def test_bias_correction(model, lspet, tmp_path, save):
    data, train, val, *metrics = MODELS[model]
    folder = lspet.parent / data
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    dataset, labels = open_people(folder, val)
    fp32 = build(BuildOptions(model, "fp32", "openvino", output=tmp_path)).bundle
    chosen = from_dataset(folder, open_dataset(folder, train), IMAGES)
    pictures = Pictures(chosen, read_manifest(fp32).input, no_progress)
    delta = corrections(onnx.load(fp32 / "source.onnx"), pictures)
    exact, results = predictions_of(str(fp32), dataset, labels.indices), {}
    for placement in PLACEMENTS:
        plain = build(BuildOptions(model, "int8", "openvino", placement=placement, output=tmp_path)).bundle
        bundles = {"plain": plain, "corrected": corrected(plain, delta)}
        found = {name: predictions_of(str(bundle), dataset, labels.indices) for name, bundle in bundles.items()}
        told = {name: report(each, labels, exact)["intervals"] for name, each in found.items()}
        gain = report(found["corrected"], labels, found["plain"])["intervals"]
        results[placement] = {
            "gained over FP32": {n: {m: told[n][m]["difference"] for m in metrics} for n in told},
            "gained by the correction": {m: gain[m]["difference"] for m in metrics},
        }
    save(f"{model}-bias-correction", {"images": IMAGES, "people": len(labels), "placements": results})
    assert all(np.isfinite(values).all() and values.any() for values in delta.values())


def corrections(model, pictures):
    """Output of each INT8 convolution -> (O,) what its bias should gain."""
    head, weights = head_indices(model), {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    convolutions = [node for i, node in enumerate(model.graph.node) if node.op_type == "Conv" and i not in head]
    means = channel_means(model, sorted({node.input[0] for node in convolutions}), pictures)
    found = {}
    for node in convolutions:
        weight = weights[node.input[1]]
        steps, scale = quantized_weight(weight)
        lost = (weight - steps * scale[:, None, None, None]).sum(axis=(2, 3))
        found[node.output[0]] = (lost @ means[node.input[0]]).astype(np.float32)
    return found


def channel_means(model, names, pictures):
    """Tensor -> (C,) mean over pixels and pictures."""
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    del measuring.graph.output[:], measuring.graph.value_info[:]
    for name in names:
        measuring.graph.node.append(
            helper.make_node("ReduceMean", [name], [f"{name}.mean"], axes=[0, 2, 3], keepdims=0)
        )
        measuring.graph.output.append(helper.make_tensor_value_info(f"{name}.mean", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(measuring.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(None, {"image": picture[None]}) for picture in pictures]
    return {name: np.mean([run[index] for run in runs], axis=0) for index, name in enumerate(names)}


def corrected(bundle, delta):
    """A copy of an INT8 bundle whose engine has corrected biases."""
    folder = bundle.with_name(f"{bundle.name}-corrected")
    shutil.copytree(bundle, folder)
    model = onnx.load(folder / "model.onnx")
    biases = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.output[0] in delta:
            item = biases[node.input[2]]
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) + delta[node.output[0]], item.name))
    onnx.save(model, folder / "model.onnx")
    manifest = read_manifest(folder)
    build_engine(folder, manifest)
    seal(folder, manifest)
    return folder
