"""Engines of the shipped face network beside FP32: every figure against its own samples, files and labels."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hgedge.benchmark import rows
from hgedge.benchmark.baseline import baselines
from hgedge.benchmark.bench import Wishes, bench
from hgedge.benchmark.candidates import Candidate
from hgedge.benchmark.report import report_files
from hgedge.bundle import open_bundle, seal
from hgedge.errors import CheckpointError, ConfigError, EngineMismatch, NoisyMachine
from hgedge.progress import no_progress

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

from hgedge.builder import BuildOptions, build

FRAMES, PEOPLE = 30, 12
EXACT_PX = 0.01  # PyTorch and the exported graph differ by the rounding of float32
SAME_POINTS = 0.01  # a metric is told with three decimals


def build_fp32(bundle: Path, backend: str, folder: Path) -> Path:
    return build(BuildOptions(model=str(bundle), precision="fp32", backend=backend, output=folder)).bundle


def never_built(bundle: Path, backend: str, folder: Path) -> Path:
    raise AssertionError("PyTorch is at hand, so nothing else is to be built")


@pytest.fixture(autouse=True, scope="module")
def brief():
    """No time decides a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hgedge.benchmark.stages.WARMUP_S", 0.3)
        patch.setattr("hgedge.benchmark.stages.PAUSE_S", 0.0)
        patch.setattr("hgedge.benchmark.rows.COLD_RUNS", 1)
        yield patch


@pytest.fixture(scope="module")
def engines(tmp_path_factory) -> tuple[Path, Path]:
    """The face network for OpenVINO in INT8 and in FP32, from the halves that are shipped."""
    folder = tmp_path_factory.mktemp("engines")
    int8, fp32 = (BuildOptions("face68", precision, "openvino", output=folder) for precision in ("int8", "fp32"))
    return build(int8).bundle, build(fp32).bundle


@pytest.fixture(scope="module")
def faces(shared_data) -> Path:
    if not (shared_data / "faces").is_dir():
        pytest.skip("needs the data set ../shared/data/faces")
    return shared_data / "faces"


@pytest.fixture(scope="module")
def document(engines, faces):
    return bench(engines, never_built, Wishes(faces, "val", PEOPLE, FRAMES, allow_noise=True))


def nobodys(bundle: Path, target: Path, **changes) -> Path:
    """A copy of a bundle whose weights are nowhere, so that PyTorch is no baseline of it."""
    folder = Path(shutil.copytree(bundle, target))
    manifest = open_bundle(folder)
    unknown = dataclasses.replace(manifest.model, sha256="0" * 64)
    seal(folder, dataclasses.replace(manifest, model=unknown, **changes))
    return folder


def test_the_first_row_is_pytorch_in_fp32_and_the_same_network(document, engines, faces):
    from hgedge.evaluation.evaluate import evaluate

    first, *others = document["rows"]
    assert (first["backend"], first["precision"], first["name"]) == ("torch", "fp32", "face68 FP32, PyTorch")
    assert first["is_baseline"] and first["ratio_to_baseline"] == 1 and first["verdict"] is None
    assert [row["bundle"] for row in others] == list(map(str, engines))
    assert {row["baseline"] for row in document["rows"]} == {first["name"]}
    told = evaluate("face68", faces, "val", PEOPLE)
    assert first["accuracy"] == pytest.approx(told["metrics"], abs=SAME_POINTS)


def test_latencies_follow_from_the_samples_that_are_kept(document):
    baseline = np.array(document["rows"][0]["samples_ms"]["end_to_end"])
    for row in document["rows"]:
        taken = {stage: np.array(samples) for stage, samples in row["samples_ms"].items()}
        assert list(taken) == ["preprocess", "engine", "decode", "end_to_end"]
        assert all(len(samples) == FRAMES and samples.min() > 0 for samples in taken.values())
        assert np.all(taken["end_to_end"] >= sum(taken[stage] for stage in ("preprocess", "engine", "decode")) - 1e-3)
        for stage, samples in taken.items():
            for p in (50, 95, 99):
                assert row["latency_ms"][stage][f"p{p}"] == pytest.approx(np.percentile(samples, p), abs=1e-3)
            interval = row["latency_ms"][stage]["p50_interval"]
            assert interval["low"] <= row["latency_ms"][stage]["p50"] + 1e-3 and interval["high"] >= interval["low"]
        assert row["fps"] == pytest.approx(1e3 / np.median(taken["end_to_end"]), rel=1e-3)
        assert row["ratio_to_baseline"] == pytest.approx(np.median(baseline / taken["end_to_end"]), rel=1e-3)
        assert row["ratio_interval"]["low"] <= row["ratio_to_baseline"] <= row["ratio_interval"]["high"]
    assert document["noise_floor"] >= 0


def test_a_verdict_needs_more_than_the_noise_floor(document):
    for row in document["rows"][1:]:
        beyond = row["ratio_interval"]["low"] > 1 + document["noise_floor"]
        below = row["ratio_interval"]["high"] < 1 / (1 + document["noise_floor"])
        assert row["verdict"] == ("faster" if beyond else "slower" if below else "level")


def lost_in(metric: str, before: float, after: float) -> float:
    """Of NME and failure rates, less is better."""
    return after - before if metric.startswith(("NME", "FR")) else before - after


def test_drops_are_the_baseline_less_the_engine_on_the_same_people(document):
    first, *others = document["rows"]
    assert document["data"]["people"] == PEOPLE and first["metric"] == "within@0.1 pooled"
    assert set(first["drop"].values()) == {0.0}
    for row in others:
        for metric, value in row["accuracy"].items():
            assert row["drop"][metric] == pytest.approx(
                lost_in(metric, first["accuracy"][metric], value), abs=SAME_POINTS
            )
        lost, interval = row["drop"]["within@0.1 pooled"], row["drop_intervals"]["within@0.1 pooled"]
        assert interval["low"] - SAME_POINTS <= lost <= interval["high"] + SAME_POINTS
        assert len(row["drop_per_keypoint"]) == 68
    assert any(others[0]["drop_per_keypoint"].values()), "INT8 moves no point of any face"


def test_sizes_memory_cold_start_and_layers(document, engines):
    for row, folder in zip(document["rows"][1:], engines):
        assert row["engine_bytes"] == sum((folder / name).stat().st_size for name in ("engine.xml", "engine.bin"))
        assert row["bundle_bytes"] == sum((folder / name).stat().st_size for name in open_bundle(folder).files)
        assert row["peak_memory_mib"] > 20 and row["cold_start"]["total_ms"] > row["cold_start"]["load_ms"] > 0
    assert document["rows"][0]["engine_bytes"] > 0 and document["rows"][0]["bundle_bytes"] is None


def test_layers_are_timed_where_the_backend_can(engines, monkeypatch, caplog):
    folder = engines[1]
    candidate = Candidate("engine", folder, open_bundle(folder), True, "baseline")
    found = rows.on_its_own(candidate, with_layers=True)["layers"]
    assert sum(layer["gmacs"] or 0 for layer in found) == pytest.approx(candidate.manifest.model.gmacs, rel=0.01)
    assert {"name", "kind", "precision", "stack", "ms", "gmac_per_s"} <= found[0].keys()
    monkeypatch.setitem(sys.modules, "hgedge.backends.openvino.profile", None)
    caplog.set_level("INFO", "hgedge")
    assert rows.on_its_own(candidate, with_layers=True)["layers"] is None
    assert "engine: its layers are not timed" in caplog.text


def test_every_report_can_be_made_of_it(document, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
    targets = [tmp_path / f"bench{suffix}" for suffix in (".html", ".md", ".csv", ".json")]
    with report_files(targets) as write:
        write(document)
    assert sorted(tmp_path.iterdir()) == sorted(targets)
    assert json.loads(targets[3].read_text()) == json.loads(json.dumps(document))
    for target in targets[:3]:
        assert all(row["name"] in target.read_text().replace("\\", "") for row in document["rows"])


def test_without_weights_the_baseline_is_fp32_on_the_same_backend(engines, tmp_path):
    document = bench([nobodys(engines[0], tmp_path / "nobodys")], build_fp32, Wishes(frames=FRAMES, allow_noise=True))
    assert [(row["name"], row["backend"], row["precision"]) for row in document["rows"]] == [
        ("face68 FP32, openvino", "openvino", "fp32"),
        ("nobodys", "openvino", "int8"),
    ]
    assert document["rows"][1]["accuracy"] == {} and document["data"] is None
    assert document["picture"] == {"name": "astronaut.jpg", "width": 512, "height": 512}


def test_plans(engines, tmp_path):
    """Which baseline a bundle gets: manifests alone decide, and nothing is built."""
    (int8, fp32), unknown = engines, nobodys(engines[0], tmp_path / "nobodys")
    manifests = {each: open_bundle(each) for each in (int8, fp32, unknown)}
    both = list(baselines(manifests, None))
    assert [(plan.backend, plan.members) for plan in both] == [("torch", [int8, fp32]), ("openvino", [unknown])]
    assert both[0].weights.sha256 == manifests[int8].model.sha256 and both[1].weights is None
    assert both[1].is_met_by(manifests[fp32]) and not both[0].is_met_by(manifests[fp32])
    with pytest.raises(ConfigError, match="--baseline default must be what the bundles were made from, but its weigh"):
        list(baselines(manifests, "default"))
    with pytest.raises(CheckpointError, match="no such file"):
        list(baselines(manifests, "no-such.pth"))


def test_pytorch_that_is_not_installed(engines, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "hgedge.backends.torch.build", None)
    caplog.set_level("INFO", "hgedge")
    (plan,) = baselines({engines[0]: open_bundle(engines[0])}, None)
    assert plan.backend == "openvino" and "PyTorch is not installed" in caplog.text


def test_a_bundle_that_vanishes_midway(engines, tmp_path):
    folder = nobodys(engines[1], tmp_path / "engine")

    def vanish(told: str, done: int, total: int) -> None:
        if told == "warm up":
            shutil.rmtree(folder)

    report = tmp_path / "bench.md"
    with pytest.raises(EngineMismatch, match="changed while it was measured: .* does not exist"):
        with report_files([report]) as write:
            write(bench([folder], build_fp32, Wishes(frames=FRAMES, allow_noise=True), progress=vanish))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_replaced_midway(engines, tmp_path):
    folder = nobodys(engines[1], tmp_path / "engine")

    def replace(told: str, done: int, total: int) -> None:
        if told == "cold starts":
            shutil.rmtree(folder)
            shutil.copytree(engines[0], folder)

    with pytest.raises(EngineMismatch, match="was replaced while it was measured; run it again"):
        bench([folder], build_fp32, Wishes(frames=FRAMES, allow_noise=True), progress=replace)


def test_noise_is_refused(engines, tmp_path, monkeypatch):
    monkeypatch.setattr("hgedge.benchmark.quiet.LIMIT", -1.0)  # any machine is too noisy
    monkeypatch.setattr("hgedge.benchmark.bench.PATIENCE_S", 1.0)
    with pytest.raises(NoisyMachine, match="% of the CPU"):
        bench([nobodys(engines[1], tmp_path / "engine")], build_fp32, Wishes(frames=FRAMES))


def test_energy_a_pose_where_sensors_answer(monkeypatch):
    """A simulated sensor: 2 W when idle, 5 W while the pipeline runs, which takes 10 ms a pose."""
    from hgedge.benchmark import pose_energy

    running = False

    def pipeline(picture, boxes):
        nonlocal running
        running = True
        time.sleep(0.01)
        return [None]

    monkeypatch.setattr(pose_energy, "SECONDS", 0.3)
    monkeypatch.setattr(pose_energy, "read_rails", lambda: {"VDD_IN": 5.0 if running else 2.0})
    found = pose_energy.pose_energy({"engine": pipeline}, np.zeros((8, 8, 3), np.uint8), np.zeros(4), no_progress)
    told = found["engine"]
    assert told["idle_w"] == 2.0 and 4.0 < told["mean_w"] <= 5.0
    assert told["mj_a_pose"] == pytest.approx(1e3 * told["mean_w"] * told["seconds"] / told["poses"], rel=0.01)
    monkeypatch.setattr(pose_energy, "read_rails", lambda: {"VDD_CPU": 1.0})
    assert pose_energy.pose_energy({"engine": pipeline}, np.zeros((8, 8, 3)), np.zeros(4), no_progress) == {}
    monkeypatch.setattr(pose_energy, "read_rails", dict)
    assert pose_energy.pose_energy({"engine": pipeline}, np.zeros((8, 8, 3)), np.zeros(4), no_progress) == {}


def test_wrong_use(engines, tmp_path, shared_data):
    with pytest.raises(ConfigError, match="--frames must be 30 or more, .* but got 29; 100 is the default"):
        Wishes(frames=29)
    with pytest.raises(ConfigError, match="--split and --limit are of a data set, but none is named; add --data DIR"):
        Wishes(limit=3)
    with pytest.raises(ConfigError, match="no bundle is named, and none in .* make one with: hgedge build"):
        bench([], build_fp32, parent=tmp_path)
    with pytest.raises(EngineMismatch, match="nowhere does not exist; make one with"):
        bench([tmp_path / "nowhere"], build_fp32)
    with pytest.raises(ConfigError, match="labelled with the keypoints 'lsp14', but .* predicts 'face68'"):
        bench(engines[1:], build_fp32, Wishes(shared_data / "lspet", limit=2))


def test_none_named_one_that_does_not_fit_one_never_measured_and_noise(engines, tmp_path, monkeypatch):
    parent = tmp_path / "engines"
    fits = nobodys(engines[1], parent / "fits", measured=False, agreement=None)
    elsewhere = dataclasses.replace(open_bundle(fits).device, architecture="riscv64")
    foreign = nobodys(engines[1], parent / "foreign", device=elsewhere)
    monkeypatch.setattr("hgedge.benchmark.quiet.LIMIT", -1.0)  # any machine is too noisy
    document = bench([], build_fp32, Wishes(frames=FRAMES, allow_noise=True), parent=parent)
    assert [row["name"] for row in document["rows"]] == ["fits"]
    assert document["noisy"] is True and document["other_processes"].keys() == {"share", "busiest"}
    now = open_bundle(fits)
    assert now.measured and now.agreement["mean_px"] < EXACT_PX
    with pytest.raises(EngineMismatch, match="riscv64"):
        bench([foreign], build_fp32)
