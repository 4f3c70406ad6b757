"""The shipped models: accuracy on people whom they have not seen, and latency, by each engine of this machine."""

import pytest

import hgedge.datasets
from hgedge import device
from hgedge.backends.openvino.build import BF16_FLAGS
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.builder import BuildOptions, build
from hgedge.evaluation.evaluate import evaluate, pipeline_of

BASELINE = "torch fp32"
ROUNDS = 60
MODELS = {  # data set beside LSPET, the loose metric, points that it may lose, and whether more is better
    "default": ("lspet", "PCK@0.2 pooled", 0.5, True),
    "face68": ("faces", "NME", 0.3, False),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def data(model, lspet):
    folder = lspet.parent / MODELS[model][0]
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    return folder


@pytest.fixture(scope="module")
def bundles(model, tmp_path_factory):
    """Name -> what `pipeline_of` takes."""
    output = tmp_path_factory.mktemp("engines")
    bf16 = [("bf16", "stream")] if set(BF16_FLAGS) & set(device.cpu().features) else []
    made = {BASELINE: model}
    for precision, placement in [("fp32", "stream"), *bf16, ("int8", "stream"), ("int8", "conv")]:
        name = f"openvino {precision}" + (f", {placement}" if precision == "int8" else "")
        options = BuildOptions(model, precision, "openvino", placement=placement, output=output)
        made[name] = str(build(options).bundle)
    return made


@pytest.mark.soak
def test_accuracy(model, data, bundles, save):
    _, metric, most, more_is_better = MODELS[model]
    accuracy = {name: evaluate(target, data, "val") for name, target in bundles.items()}
    fp32 = accuracy[BASELINE]["metrics"]
    drop = {
        name: {each: round(fp32[each] - value, 3) for each, value in document["metrics"].items()}
        for name, document in accuracy.items()
    }
    save(f"{model}-accuracy", {"accuracy": accuracy, "drop": drop})
    assert all((lost[metric] if more_is_better else -lost[metric]) <= most for lost in drop.values())


def test_latency(model, data, bundles, save):
    person = hgedge.datasets.open(data, "val").people[0]
    picture, box = person.read(), [person.box_xyxy]
    pipelines = {name: pipeline_of(target) for name, target in bundles.items()}
    runs = {name: lambda pipeline=pipeline: pipeline(picture, box) for name, pipeline in pipelines.items()}
    samples = interleaved(runs, rounds=ROUNDS, pause_s=0.01)
    results = {
        name: {
            "latency_ms": percentiles(taken),
            "speedup_over_baseline": ratio(samples[BASELINE], taken),
            "samples_ms": taken.round(4).tolist(),
        }
        for name, taken in samples.items()
    }
    save(f"{model}-latency", results)
    assert results["openvino int8, stream"]["speedup_over_baseline"] > results["openvino fp32"]["speedup_over_baseline"]
