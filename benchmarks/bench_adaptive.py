"""Leaving the network early, frame by frame, after the stack that agrees with the one before it.

The rule runs a network of N stacks as N engines, decodes each, and stops where two in a row agree (adaptive/rule.py).
What it must beat is what anybody has without it: fewer stacks for every frame, in one engine; at the same mean time,
where that lies between two numbers of stacks, frames that take the one or the other by chance. Takes 4 minutes.
`HGEDGE_ADAPTIVE` names the weights, of at least three stacks; adaptive/training.toml makes some.
"""

import dataclasses
import itertools
import os

import numpy as np
import pytest

from hgedge import geometry
from hgedge.benchmark.environment import machine_name
from hgedge.benchmark.statistics import ratio_interval
from hgedge.benchmark.timing import interleaved, percentiles
from hgedge.builder import BuildOptions, build
from hgedge.bundle import read_manifest
from hgedge.evaluation.evaluate import open_people
from hgedge.evaluation.parity import relative_rmse
from hgedge.runtime.pipeline import load

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'hgedge[openvino]'")

from benchmarks.adaptive.pieces import Pieces
from benchmarks.adaptive.plot import plot
from benchmarks.adaptive.rule import EARLIEST, LOOSE, METRICS, SURE, Accuracy, Seen, rival

pytestmark = pytest.mark.soak

WEIGHTS = "HGEDGE_ADAPTIVE"
LIMITS = {  # cells that sure joints of two stacks may lie apart, on average or at most
    "mean": (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5),
    "max": (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 12, 20),
}
RULES = [(kind, limit) for kind, limits in LIMITS.items() for limit in limits]
NEVER = ("max", -1.0)  # two stacks agree
LIVE = ("max", 1)  # the rule whose loop is timed on a video
FAR = 2.0  # cells that a joint has moved where it is another one
ROUNDS, PAUSE_S = 300, 0.002
COMPARED = 100  # crops
MOST_RMSE = 0.1  # of the pieces' heatmaps against the whole engine's; an INT8 engine moves itself by up to 0.075


@pytest.fixture(scope="module")
def bundles(lspet, tmp_path_factory):
    """Stacks -> an INT8 bundle of so many of the network's stacks, all with the same ranges."""
    if not os.environ.get(WEIGHTS):
        pytest.skip(f"needs weights of several stacks: {WEIGHTS}=weights.safetensors, see adaptive/training.toml")
    output = tmp_path_factory.mktemp("engines")
    options = BuildOptions(os.environ[WEIGHTS], backend="openvino", calibration=lspet, output=output)
    whole = build(options).bundle
    few = dataclasses.replace(options, calibration=whole / "calibration.json")
    stacks = read_manifest(whole).model.num_stacks
    if stacks <= EARLIEST:
        pytest.skip(f"needs more than {EARLIEST} stacks, as the rule always runs so many, but {WEIGHTS} has {stacks}")
    made = {count: build(dataclasses.replace(few, num_stacks=count)).bundle for count in range(1, stacks)}
    return {**made, stacks: whole}


@pytest.fixture(scope="module")
def fixed(bundles):
    """Stacks -> the engine of so many."""
    return {count: load(bundle) for count, bundle in bundles.items()}


@pytest.fixture(scope="module")
def pieces(bundles):
    return Pieces(bundles)


@pytest.fixture(scope="module")
def people(fixed, pieces, lspet):
    """Of LSPET val: crops, and how right each stack is about them."""
    dataset, labels = open_people(lspet, "val")
    pipeline, chosen = fixed[1], [dataset.people[index] for index in labels.indices]
    affines = [geometry.frame_from_input(person.box_xyxy, pipeline.input.hw) for person in chosen]
    crops = np.stack([pipeline.crops(person.read(), [a])[0].copy() for person, a in zip(chosen, affines)])
    return crops, Accuracy(dataset, labels.indices, np.stack(affines), seen_by(pieces, crops))


def seen_by(pieces, crops):
    found = [[pieces.located(maps) for maps in pieces.run(crop[None])] for crop in crops]
    points, scores = (np.array([[stack[i][0] for stack in each] for each in found]).swapaxes(0, 1) for i in (0, 1))
    return Seen(points, scores, pieces.decode.stride)


@pytest.fixture(scope="module")
def samples(fixed, pieces, people):
    """Name -> (ROUNDS,) ms, taken in turn: engines and pieces, with and without what is decoded and compared."""
    crop, runs = people[0][:1], {}
    for count, pipeline in fixed.items():
        run = pipeline.session.run
        runs[f"fixed {count}"] = lambda run=run: pieces.located(run(crop))
        runs[f"exit {count}"] = lambda count=count: pieces.run_by_rule(crop, *NEVER, count)
        runs[f"engine {count}"] = lambda run=run: run(crop)
        runs[f"pieces {count}"] = lambda count=count: list(pieces.run(crop, count))
    return interleaved(runs, ROUNDS, pause_s=PAUSE_S)


def mean_ms(samples, exits):
    """(ROUNDS,) ms that the rule takes on average over such exits, had all of them each round's times."""
    stacks, counts = np.unique(exits, return_counts=True)
    return sum(samples[f"exit {stack}"] * count for stack, count in zip(stacks, counts)) / counts.sum()


def latency(samples, exits):
    mean, every = mean_ms(samples, exits), np.concatenate([samples[f"exit {stack}"] for stack in exits])
    return {"mean": round(float(np.median(mean)), 4), **percentiles(every)}


def latency_of(taken):
    return {"mean": round(float(np.median(taken)), 4), **percentiles(taken)}


def ratio(slower, faster):
    return dataclasses.asdict(ratio_interval(slower, faster))


def first(metrics):
    return {name: round(float(values[0]), 3) for name, values in metrics.items()}


def judged(accuracy, samples, kind, limit):
    """What the rule with one limit costs and brings."""
    exits, stacks = accuracy.seen.exits(kind, limit), len(accuracy.fixed)
    found, own_ms = accuracy.of(exits), mean_ms(samples, exits)
    times = {count: float(np.median(samples[f"fixed {count}"])) for count in accuracy.fixed}
    mix = rival(accuracy, times, float(np.median(own_ms)))
    return {
        "kind": kind,
        "limit_cells": limit,
        "mean_stacks": round(float(exits.mean()), 3),
        "people": {count: int((exits == count).sum()) for count in accuracy.fixed},
        "latency_ms": latency(samples, exits),
        "metrics": first(found),
        "over all stacks": accuracy.over(found, {stacks: 1.0}),
        "rival": {count: round(share, 3) for count, share in mix.items()},
        "over the rival": accuracy.over(found, mix),
        "over as many stacks": accuracy.over(found, rival(accuracy, {n: n for n in times}, float(exits.mean()))),
        "over each fixed": {count: accuracy.over(found, {count: 1.0}) for count in accuracy.fixed},
        "fixed time over its own": {count: ratio(samples[f"fixed {count}"], own_ms) for count in accuracy.fixed},
    }


def best_of(accuracy, metric):
    """What could be had if each person's best stack were known."""
    best, stacks = accuracy.best(metric), len(accuracy.fixed)
    over = accuracy.over(accuracy.of(best), {stacks: 1.0})[metric]
    return {"mean_stacks": round(float(best.mean()), 3), "over all stacks": over}


def test_pieces(fixed, pieces, people, samples, save):
    """What it costs that a network can be left: borders between engines, and decoding after each stack."""
    crops, _ = people
    rmse = {}
    for count, pipeline in fixed.items():
        ours = np.concatenate([np.array([*pieces.run(crop[None], count)][-1]) for crop in crops[:COMPARED]])
        theirs = np.concatenate([np.array(pipeline.session.run(crop[None])) for crop in crops[:COMPARED]])
        rmse[count] = round(relative_rmse(ours, theirs), 4)
    results = {
        "handed_on_bytes": pieces.handed_bytes,
        "latency_ms": {name: percentiles(taken) for name, taken in samples.items()},
        "pieces over engine": {count: ratio(samples[f"pieces {count}"], samples[f"engine {count}"]) for count in fixed},
        "rule over fixed": {count: ratio(samples[f"exit {count}"], samples[f"fixed {count}"]) for count in fixed},
        "rmse of heatmaps": rmse,
        "samples_ms": {name: taken.round(4).tolist() for name, taken in samples.items()},
    }
    save("adaptive-pieces", results)
    assert max(rmse.values()) <= MOST_RMSE


def test_people(people, samples, save, request, tmp_path):
    """Accuracy against mean latency; the limit is chosen on every second person, and judged on the others."""
    _, accuracy = people
    halves, stacks = [accuracy.half(0), accuracy.half(1)], len(accuracy.fixed)
    rows = [judged(accuracy, samples, *rule) for rule in RULES]
    chosen = max(RULES, key=lambda rule: judged(halves[0], samples, *rule)["over the rival"][LOOSE]["points"])
    confirmed = judged(halves[1], samples, *chosen)
    document = {
        "people": len(accuracy.labels),
        "least peak of a sure joint": SURE,
        "fixed": {
            count: {
                "latency_ms": latency_of(samples[f"fixed {count}"]),
                "metrics": first(found),
                "over all stacks": accuracy.over(found, {stacks: 1.0}),
            }
            for count, found in accuracy.fixed.items()
        },
        "rules": rows,
        "best stack of each": {metric: best_of(accuracy, metric) for metric in METRICS},
        "chosen on one half, judged on the other": confirmed,
        "pays": confirmed["over the rival"][LOOSE]["low"] > 0,
    }
    save("adaptive-people", document)
    option = request.config.getoption
    folder = option("--hgedge-results") / machine_name() if option("--hgedge-save") else tmp_path
    plot(folder / "adaptive-people.png", document)
    never = judged(accuracy, samples, *NEVER)
    assert never["mean_stacks"] == stacks and never["over all stacks"][LOOSE]["points"] == 0


@pytest.fixture(scope="module")
def videos(fixed, lspet):
    """Name -> crops of everybody whom HOG and the tracker know in each frame; where they know nobody, all of it."""
    folder = lspet.parent / "videos"
    if not folder.is_dir():
        pytest.skip(f"needs the videos at {folder}")
    pipeline, found = fixed[max(fixed)], {}
    for path in sorted(folder.glob("*.mp4")):
        crops = []
        for frame, poses in pipeline.stream(path, people="hog", smooth=False):
            boxes = [pose.box_xyxy for pose in poses] or [geometry.whole_frame_box(frame.shape[:2])]
            affines = [geometry.frame_from_input(box, pipeline.input.hw) for box in boxes]
            crops.extend(pipeline.crops(frame, affines).copy())
        found[path.stem] = np.stack(crops)
    return found


def moved(seen, exits):
    """How far sure joints lie from where all stacks put them, in pixels of the input."""
    last, sure = seen.points[-1], seen.scores[-1] >= SURE
    px = np.linalg.norm(seen.after(exits) - last, axis=-1)[sure]
    told = {"mean_px": px.mean(), "p95_px": np.percentile(px, 95), "far": (px > FAR * seen.stride).mean()}
    return {name: round(float(value), 4) for name, value in told.items()}


def test_videos(videos, fixed, pieces, samples, save):
    """Stacks that the rule runs on frames of a video, how far its joints lie from all stacks', and its real loop."""
    document = {}
    for name, crops in videos.items():
        seen = seen_by(pieces, crops)
        rows = []
        for kind, limit in RULES:
            exits = seen.exits(kind, limit)
            told = {"mean_stacks": round(float(exits.mean()), 3), "latency_ms": latency(samples, exits)}
            rows.append({"kind": kind, "limit_cells": limit, **told, **moved(seen, exits)})
        few = {count: {**latency_of(samples[f"fixed {count}"]), **moved(seen, count)} for count in fixed}
        document[name] = {"crops": len(crops), "fixed": few, "rules": rows, "live": live(crops, seen, fixed, pieces)}
    save("adaptive-videos", document)
    assert all(np.isfinite(row["mean_px"]) for video in document.values() for row in video["rules"])


def live(crops, seen, fixed, pieces):
    """One rule's own loop over the crops in their order, beside engines of fixed numbers of stacks."""
    turns = {name: itertools.cycle(crops) for name in ("rule", *fixed)}
    runs = {"rule": lambda: pieces.run_by_rule(next(turns["rule"])[None], *LIVE)}
    for count, pipeline in fixed.items():
        run = pipeline.session.run
        runs[f"fixed {count}"] = lambda count=count, run=run: pieces.located(run(next(turns[count])[None]))
    samples = interleaved(runs, ROUNDS, warmup=len(crops) if len(crops) < ROUNDS else 0, pause_s=PAUSE_S)
    told = {name: {"mean": round(float(taken.mean()), 4), **percentiles(taken)} for name, taken in samples.items()}
    return {"rule": LIVE, "mean_stacks": round(float(seen.exits(*LIVE).mean()), 3), "latency_ms": told}
