"""Our INT8 engines beside NNCF's post-training quantisation on OpenVINO: the same pictures, one run.

NNCF (default preset) quantises the same FP32 graph; its engine gets the same folded input and takes the same crops.
"""

import shutil

import numpy as np
import pytest

import hgedge.datasets
from hgedge import geometry
from hgedge.backends.openvino.build import fold_input
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.builder import BuildOptions, build, calibration
from hgedge.builder.network import network_of
from hgedge.builder.pictures import Pictures
from hgedge.bundle import file_of, read_manifest, seal
from hgedge.evaluation.evaluate import open_people, predictions_of
from hgedge.evaluation.parity import relative_rmse
from hgedge.evaluation.report import report
from hgedge.progress import no_progress
from hgedge.runtime.pipeline import load

nncf = pytest.importorskip("nncf", reason="NNCF is not installed: pip install 'hgedge[peers]'")

LSPET_RECIPE = "calibration/lspet-256.toml"
SEEDED_IMAGES = 32  # for networks of random weights, whose speed does not depend on their ranges
ROUNDS = {"default": 400, "hg2": 150, "hg8": 60}
PLACEMENTS = ("stream", "conv")
LEVEL = 1.03  # of latency, or what the run's own A/A noise is
RMSE_CROPS = 32
METRICS = ("PCK@0.2 pooled", "PCK@0.1 pooled", "PCK@0.05 pooled", "PCK-AUC@0.5 pooled")
DRAWS, DRAWN = 4, 128
MAX_LOST = 0.3  # points of the first metric


@pytest.fixture(scope="module", params=ROUNDS)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def options(model, request, lspet, tmp_path_factory):
    """What both quantisers start from."""
    output = tmp_path_factory.mktemp("engines")
    if model == "default":
        calibrated = {"calibration": request.config.rootpath / LSPET_RECIPE, "data": lspet}
        return {"model": model, "backend": "openvino", "output": output, **calibrated}
    checkpoint = str(request.getfixturevalue(model))
    few = {"calibration": lspet, "calibration_images": SEEDED_IMAGES}
    return {"model": checkpoint, "backend": "openvino", "output": output, **few}


@pytest.fixture(scope="module")
def bundles(options):
    """Name -> bundle: ours by placement, FP32, and NNCF's engine in a bundle that is otherwise ours."""
    made = {"fp32": build(BuildOptions(precision="fp32", **options)).bundle}
    for placement in PLACEMENTS:
        made[placement] = build(BuildOptions(precision="int8", placement=placement, **options)).bundle
    made["nncf"] = with_nncf(made["fp32"], BuildOptions(precision="int8", **options))
    return made


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


@pytest.fixture(scope="module")
def crops(lspet, bundles):
    with load(bundles["fp32"]) as pipeline:
        people = hgedge.datasets.open(lspet, "val").people[:RMSE_CROPS]
        affines = [geometry.frame_from_input(person.box_xyxy, pipeline.input.hw) for person in people]
        return np.stack([pipeline.crops(person.read(), [affine])[0].copy() for person, affine in zip(people, affines)])


def test_latency_is_level_with_nncf(model, bundles, crops, save):
    engines = {name: load(bundle) for name, bundle in bundles.items()}
    engines["stream again"] = load(bundles["stream"])
    runs = {name: lambda engine=engine: engine.session.run(crops[:1]) for name, engine in engines.items()}
    samples = interleaved(runs, rounds=ROUNDS[model], warmup=10, pause_s=0.002)
    noise = ratio(samples["stream again"], samples["stream"])
    noise = max(noise, 1 / noise)
    slower = {name: ratio(samples[name], samples["nncf"]) for name in PLACEMENTS}
    results = {
        "latency_ms": {name: percentiles(taken) for name, taken in samples.items()},
        "time_over_nncf": slower,
        "a_a_noise": noise,
        "speedup_over_openvino_fp32": {n: ratio(samples["fp32"], taken) for n, taken in samples.items()},
        "rmse_of_heatmaps": rmse(engines, crops),
        "samples_ms": {name: taken.round(4).tolist() for name, taken in samples.items()},
    }
    save(f"nncf-{model}-latency", results)
    assert min(slower.values()) <= max(LEVEL, noise)


def rmse(engines, crops):
    """Name -> distance of heatmaps to FP32's, relative to their root mean square."""
    maps = {
        name: np.concatenate([np.array(engine.session.run(crops[i : i + 1])) for i in range(len(crops))])
        for name, engine in engines.items()
    }
    return {name: round(relative_rmse(found, maps["fp32"]), 4) for name, found in maps.items()}


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
