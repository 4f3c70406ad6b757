"""A sweep from model to document: goes on where it was killed, leaves out what fails, refuses what cannot be."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from hgedge.builder import BuildOptions
from hgedge.cli.main import main
from hgedge.errors import ConfigError, NoisyMachine, QuantizationError
from hgedge.sweep.model import Axes
from hgedge.sweep.start import sweep
from hgedge.sweep.workshop import Workshop

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")

DATA = Path("figures:40")  # 32 to calibrate with, 8 to score on


@pytest.fixture(scope="module")
def run(onnx_file, notes):
    """run(axes, ...): a sweep of the 64x64 network on ONNX Runtime."""

    def sweep_it(axes=Axes(), data=DATA, model=None, **settings):  # noqa: B008
        options = BuildOptions(str(model or onnx_file(64, 64)), backend="onnxruntime", keypoints="lsp14")
        return sweep(options, axes, data, limit=4, **{"allow_noise": True, **settings})

    return sweep_it


@pytest.fixture(scope="module")
def whole(run):
    return run().document


class Killer:
    """Progress that interrupts at the second person of every candidate, once."""

    def __init__(self):
        self.left = [2, 6, 10]

    def __call__(self, stage, done, total):
        if stage == "sweep" and done in self.left:
            self.left.remove(done)
            raise KeyboardInterrupt


def accuracies(document):
    return [{key: value for key, value in row.items() if key in UNTIMED} for row in document["rows"]]


UNTIMED = ("name", "accuracy", "metrics", "interval", "below_best", "gmacs", "agreement", "model_onnx_sha256")


def test_a_sweep_killed_at_every_candidate_goes_on_and_measures_nothing_twice(run, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    killer = Killer()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(progress=killer)
    found = run(progress=killer).document
    assert killer.left == [] and accuracies(found) == accuracies(whole)
    (notes,) = (tmp_path / "hgedge" / "sweep").iterdir()
    names = [json.loads(line)["name"] for line in notes.read_text().splitlines()]
    assert len(names) == len(set(names)), "something was measured twice"
    assert sum(name.startswith("accuracy: ") for name in names) == 3

    before = notes.read_bytes()
    assert run().document["rows"] == found["rows"] and notes.read_bytes() == before
    notes.write_bytes(before[:-20])  # the disk was full, or the power went
    assert accuracies(run().document) == accuracies(whole)


def test_document(whole):
    document = whole
    assert [row["name"] for row in document["rows"]] == [
        "1 stack 64x64 fp32",
        "1 stack 64x64 int8 stream",
        "1 stack 64x64 int8 conv",
    ]
    for row in document["rows"]:
        assert row["num_stacks"] == 1 and row["input_hw"] == [64, 64] and row["latency_ms_p50"] > 0
        assert row["interval"]["low"] <= row["accuracy"] <= row["interval"]["high"]
        assert row["timed_together"] or not row["pareto"], "the front was not timed all together"
    assert any(row["pareto"] for row in document["rows"])
    assert document["metrics"] == {"loose": "PCK@0.2 pooled", "tight": "PCK@0.05 pooled"}
    assert document["calibration"] == {"64x64": "32 people of figures 'train'"}
    assert document["remarks"] == [f"{document['remarks'][0].split(' is ')[0]} is an ONNX file, whose stacks and input "
                                   "are fixed: precisions and placements are swept"]  # fmt: skip


def test_free_input_is_swept_over_the_sizes_asked_for(run, onnx_file):
    rows = run(Axes(sizes=((32, 32), (128, 96)), precisions=("fp32",)), model=onnx_file()).document["rows"]
    assert [row["input_hw"] for row in rows] == [[32, 32], [128, 96]]
    assert rows[1]["gmacs"] == pytest.approx(12 * rows[0]["gmacs"], rel=0.5)  # of the pixels; told to four places
    with pytest.raises(ConfigError, match="has no fixed height and width; say them: --input HxW"):
        run(model=onnx_file())


def test_what_fails_is_left_out_and_said(run, monkeypatch, tmp_path):
    build = Workshop.bundle

    def planted(workshop, candidate):
        if candidate.placement == "conv":
            raise QuantizationError("no such kernel")
        return build(workshop, candidate)

    monkeypatch.setattr(Workshop, "bundle", planted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = run().document["rows"]
    assert [row.get("failed") for row in rows] == [None, None, "no such kernel"]
    assert rows[2]["accuracy"] is None and rows[2]["pareto"] is False
    with pytest.raises(QuantizationError, match="no such kernel"):
        run(Axes(precisions=("int8",), placements=("conv",)))


def test_bad_input_is_refused_before_the_work(run, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for axes, message in (
        (Axes(stacks=(2,)), "--stacks must be 1, which it has for two64x64, but got 2"),
        (Axes(sizes=((32, 32),)), r"image \(N, 3, 64, 64\) is fixed, but --input asks for 32x32; leave --input out"),
        (Axes(precisions=("bf16",)), "backend onnxruntime runs fp32 and int8, but got --precision bf16"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(axes)
    if (shared_data / "faces").is_dir():
        with pytest.raises(
            ConfigError, match="is labelled with the 68 keypoints 'face68', but two64x64 predicts the 14"
        ):
            run(data=shared_data / "faces")
    assert not (tmp_path / "cache").exists()


def test_a_noisy_machine_is_refused(run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("hgedge.sweep.measure.ATTEMPTS", 1)
    monkeypatch.setattr("hgedge.benchmark.quiet.LIMIT", -1.0)  # whatever others take is too much
    monkeypatch.setattr("hgedge.benchmark.quiet.await_quiet", lambda progress: None)
    with pytest.raises(NoisyMachine, match="timing needs a machine whose other processes take at most"):
        run(Axes(precisions=("int8",), placements=("stream",)), allow_noise=False)
    (notes,) = (tmp_path / "hgedge" / "sweep").iterdir()
    assert "latency" not in notes.read_text()


def test_interrupt_keeps_what_was_measured_and_writes_no_file(onnx_file, notes, tmp_path, monkeypatch, capfd):
    build = Workshop.bundle

    def interrupted(workshop, candidate):
        if candidate.precision == "int8":
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C does
        return build(workshop, candidate)

    monkeypatch.setattr(Workshop, "bundle", interrupted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    words = ("--keypoints", "lsp14", "--data", str(DATA), "--limit", "4", "--backend", "onnxruntime", "--allow-noise")
    assert main(["sweep", str(onnx_file(64, 64)), *words]) == 130
    said = capfd.readouterr().err
    assert "1 of 3: 1 stack 64x64 fp32" in said
    assert "what was measured is kept: the same command goes on from there" in said
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    (kept,) = (tmp_path / "cache" / "hgedge" / "sweep").iterdir()
    assert '"accuracy: 1 stack 64x64 fp32"' in kept.read_text()
