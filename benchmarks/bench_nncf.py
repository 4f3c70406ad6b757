"""The accuracy of our INT8 engines beside NNCF's post-training quantisation on OpenVINO, over draws of pictures.

NNCF (default preset) quantises the same FP32 graph; its engine gets the same folded input. Latency: `bench_peers.py`.
"""

import shutil

import numpy as np
import pytest

from hgedge.backends.openvino.build import fold_input
from hgedge.builder import BuildOptions, build, calibration
from hgedge.builder.network import network_of
from hgedge.builder.pictures import Pictures
from hgedge.bundle import file_of, read_manifest, seal
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.report import report
from hgedge.progress import no_progress

nncf = pytest.importorskip("nncf", reason="NNCF is not installed: pip install 'hgedge[peers]'")

PLACEMENTS = ("stream", "conv")
METRICS = ("PCK@0.2 pooled", "PCK@0.1 pooled", "PCK@0.05 pooled", "PCK-AUC@0.5 pooled")
DRAWS, DRAWN = 4, 128
MAX_LOST = 0.3  # points of the first metric


def with_nncf(fp32, options):
    import openvino as ov

    manifest = read_manifest(fp32)
    chosen = calibration.find(options, network_of(options))
    pictures = [picture[None].copy() for picture in Pictures(chosen, manifest.input, no_progress)]
    model = ov.Core().read_model(file_of(fp32, manifest, "source.onnx"))
    model.reshape([1, manifest.input.channels, *manifest.input.hw])
    quantised = nncf.quantize(model, nncf.Dataset(pictures), subset_size=len(pictures))
    folder = fp32.with_name("nncf")
    folder.mkdir()
    for name in manifest.files:
        if not name.startswith("engine"):
            (folder / name).write_bytes((fp32 / name).read_bytes())
    ov.save_model(fold_input(quantised, manifest.input), folder / "engine.xml", compress_to_fp16=False)
    seal(folder, manifest)
    return folder


@pytest.mark.soak
def test_accuracy_beside_nncfs(lspet, tmp_path, save):
    """On the default model: the mean over several draws of calibration pictures, each the same for both quantisers."""
    dataset, labels = open_people(lspet, "val")
    common = {"model": "default", "backend": "openvino", "output": tmp_path, "force": True}
    fp32 = build(BuildOptions(precision="fp32", **common)).bundle
    exact = predictions_of(str(fp32), dataset, labels.indices)
    draws = []
    for seed in range(DRAWS):
        recipe = tmp_path / f"draw-{seed}.toml"
        recipe.write_text(f'dataset = "lspet"\nimages = {DRAWN}\nselection = "covering"\nseed = {seed}\n')
        options = {**common, "calibration": recipe, "data": lspet}
        bundles = {p: build(BuildOptions(precision="int8", placement=p, **options)).bundle for p in PLACEMENTS}
        bundles["nncf"] = with_nncf(fp32, BuildOptions(precision="int8", **options))
        found = {name: predictions_of(str(bundle), dataset, labels.indices) for name, bundle in bundles.items()}
        shutil.rmtree(bundles["nncf"])
        told = {name: report(predictions, labels, exact)["intervals"] for name, predictions in found.items()}
        draws.append({name: {metric: each[metric]["difference"] for metric in METRICS} for name, each in told.items()})
    mean = {
        name: {metric: round(float(np.mean([draw[name][metric]["points"] for draw in draws])), 3) for metric in METRICS}
        for name in draws[0]
    }
    save("nncf-default-accuracy", {"people": len(labels), "images": DRAWN, "gained over fp32": mean, "draws": draws})
    assert max(mean[placement][METRICS[0]] for placement in PLACEMENTS) >= -MAX_LOST
