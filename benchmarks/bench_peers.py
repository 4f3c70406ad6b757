"""Our engines beside what others make of the same networks (`peers.py`): one run, one photograph, one table.

End to end is from a photograph in memory to keypoints, with our crop and decoding for all; the engine's time is a part
of the same call. The share is of the peak of a row's own arithmetic: the network's multiply-accumulates over the
engine's time, over what the best 3x3 convolutions reach here (`hgedge.benchmark.peak`).
"""

import json

import cv2
import numpy as np
import pytest

from hgedge import geometry
from hgedge.benchmark.environment import machine_name
from hgedge.benchmark.noise import noise_floor, verdict
from hgedge.benchmark.peak import convolution_peak
from hgedge.benchmark.statistics import ratio_interval
from hgedge.benchmark.timing import interleaved, percentiles
from hgedge.bundle import read_manifest
from hgedge.errors import BackendUnavailable, HgedgeError
from hgedge.evaluation.evaluate import open_people
from hgedge.evaluation.parity import relative_rmse
from hgedge.evaluation.pck import pck
from hgedge.runtime.decode import decode
from hgedge.runtime.pipeline import Pipeline

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'hgedge[export]'")
pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'hgedge[openvino]'")

from benchmarks import peers
from benchmarks.peers import AGAIN, EAGER, MAKERS, NNCF, ORT, OURS, Setting
from hgedge.checkpoints import resolve

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default")]  # the peers' own

MODELS = ("default", "hg1", "hg2", "hg8")  # hg1 to hg8 with seeded weights: speed does not depend on them
JUDGED = "hg2"
ROUNDS = {"default": 100, "hg1": 40, "hg2": 40, "hg8": 30}
PEOPLE = {"default": 250}  # of LSPET val, scored
SEEN = 8  # crops whose heatmaps are compared, where nobody is scored
SEEDED_IMAGES = 32  # the fewest
PAUSE_S = 0.01  # until the threads of the peer before sleep
THRESHOLD, METRIC = 0.2, "PCK@0.2"
OVER_EAGER, OVER_ORT, LEVEL = 5.5, 3.0, 1.03  # of the judged model in INT8, end to end


@pytest.fixture(scope="module")
def peaks():
    """Precision -> the peak here, or why there is none."""
    found = {}
    for precision in ("fp32", "bf16", "int8"):
        try:
            found[precision] = vars(convolution_peak(precision))
        except BackendUnavailable as error:
            found[precision] = {"gmac_per_s": None, "reason": str(error)}
    return found


@pytest.fixture(params=MODELS)
def setting(request, lspet, tmp_path):
    if request.param == "default":
        return Setting("default", resolve("default"), {"model": "default", "calibration": lspet}, tmp_path)
    checkpoint = str(request.getfixturevalue(request.param))
    few = {"calibration": lspet, "calibration_images": SEEDED_IMAGES}
    return Setting(request.param, resolve(checkpoint), {"model": checkpoint, **few}, tmp_path)


@pytest.fixture
def made(setting):
    """Name -> peer, and name -> why it is not there."""
    found, skipped = {}, {}
    for name, (_, make) in MAKERS.items():
        try:
            peer = make(setting)
            peer.run(np.zeros((1, *setting.input.hw, setting.input.channels), np.uint8))  # compiled by now
            found[name] = peer
        except Exception as error:
            if name.startswith("hgedge") and not isinstance(error, HgedgeError):
                raise
            skipped[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    yield found, skipped
    for peer in found.values():
        peer.close()


def test_peers(request, setting, made, peaks, lspet, save):
    found, skipped = made
    photograph = cv2.imread(str(lspet / "images" / "im00003.jpg"))
    pipelines = {name: pipeline(peer, setting) for name, peer in found.items()}
    rounds, whole = ROUNDS[setting.model], timed_after_their_own(pipelines, photograph, ROUNDS[setting.model])
    engine = {name: np.array(peer.engine_ms[-2 * rounds :][1::2]) for name, peer in found.items()}
    gmacs = read_manifest(setting.bundle("fp32")).model.gmacs
    told, floor = accuracy(found, setting, lspet), noise_floor(whole[OURS], whole[AGAIN])
    over = {name: ratio_interval(whole[name], whole[OURS]) for name in (EAGER, ORT, NNCF) if name in found}
    results = {
        "model": setting.model,
        "input_hw": setting.input.hw,
        "gmacs": gmacs,
        "noise_floor": floor,
        "ours_against": {name: {**vars(times), "verdict": verdict(times, floor)} for name, times in over.items()},
        "peaks": peaks,
        "rows": [
            {
                "peer": name,
                "arithmetic": MAKERS[name][0],
                "latency_ms": {"engine": percentiles(engine[name]), "end_to_end": percentiles(whole[name])},
                "eager_over_it": vars(ratio_interval(whole[EAGER], whole[name])),
                "share_of_peak": share(gmacs, engine[name], peaks[MAKERS[name][0]]["gmac_per_s"]),
                **told[name],
                "samples_ms": {"engine": engine[name].round(4).tolist(), "end_to_end": whole[name].round(4).tolist()},
            }
            for name in found
        ],
        "skipped": skipped,
    }
    save(f"peers-{setting.model}", results)
    write_table(request.config)
    print(peers.markdown([results], METRIC), skipped)
    if setting.model == JUDGED:
        assert over[EAGER].value >= OVER_EAGER
        assert over[ORT].value >= OVER_ORT
        assert NNCF not in over or over[NNCF].value >= 1 / max(LEVEL, 1 + floor)


def timed_after_their_own(pipelines, photograph, rounds):
    """Name -> (rounds,) ms of calls that each follow one of the same peer, as frames do, and not of another's."""
    calls = {name: lambda run=run: run(photograph) for name, run in pipelines.items()}
    pairs = {key: call for name, call in calls.items() for key, call in ((f"{name}, before", call), (name, call))}
    samples = interleaved(pairs, rounds, pause_s=PAUSE_S)
    return {name: samples[name] for name in calls}


def pipeline(peer, setting):
    return Pipeline(peer, setting.input, setting.checkpoint.keypoints, setting.checkpoint.decode)


def share(gmacs, engine_ms, peak):
    return None if peak is None else round(1e3 * gmacs / float(np.median(engine_ms)) / peak, 4)


def accuracy(found, setting, lspet):
    """Name -> how far the heatmaps are from eager FP32's, and how right where people are labelled with the same."""
    dataset, labels = open_people(lspet, "val", PEOPLE.get(setting.model, SEEN))
    people = [dataset.people[index] for index in labels.indices]
    affines = [geometry.frame_from_input(person.box_xyxy, setting.input.hw) for person in people]
    cut, spec = pipeline(None, setting).crops, setting.checkpoint.decode
    crops = [cut(person.read(), [affine]).copy() for person, affine in zip(people, affines)]
    exact, told = None, {}
    for name, peer in found.items():
        maps = np.concatenate([np.array(peer.run(crop)) for crop in crops])
        exact = maps if exact is None else exact
        told[name] = {"relative_rmse": round(relative_rmse(maps, exact), 5)}
        if dataset.keypoint_set.names == setting.checkpoint.keypoints.names:
            points = decode(maps, spec.stride, spec.shift, spec.refinement)[0]
            placed = np.stack([geometry.transform(affine, each) for affine, each in zip(affines, points)])
            scored = pck(placed, labels.keypoints, labels.labelled, labels.keypoint_set, (THRESHOLD,))
            told[name][METRIC] = round(float(scored.pooled[0]), 3)
    return told


def write_table(config):
    """`peers.md`, of all results that are kept."""
    folder = config.getoption("--hgedge-results") / machine_name()
    if config.getoption("--hgedge-save"):
        kept = [folder / f"peers-{model}.json" for model in MODELS]
        documents = [json.loads(path.read_text()) for path in kept if path.exists()]
        cpu = documents[0]["environment"]
        head = f"# Peers on {cpu['device']['name']}, {cpu['cores']} cores\n\n"
        libraries = ", ".join(f"{name} {version}" for name, version in cpu["libraries"].items())
        table = peers.markdown([document["results"] for document in documents], METRIC)
        (folder / "peers.md").write_text(f"{head}{table}\n{libraries}.\n")
