"""`hgedge sweep`, as the program runs it: a checkpoint's stacks, and the recipes that it writes."""

from __future__ import annotations

import csv
import functools
import json
import os
from pathlib import Path

import pytest

from hgedge.benchmark.timing import interleaved
from hgedge.bundle import read_manifest
from hgedge.cli.main import main
from hgedge.evaluation.evaluate import evaluate

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")

GRID = ("--input", "64x64", "--precision", "int8", "--placement", "conv")
COMMON = ("--data", "figures:40", "--limit", "4", "--backend", "onnxruntime", "--allow-noise")


@pytest.fixture(scope="module")
def checkpoint(lively, tmp_path_factory):
    """A two-stack network that is exported in no time."""
    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import LSP14
    from hgedge.spec import InputSpec

    path = tmp_path_factory.mktemp("checkpoints") / "small.safetensors"
    net = lively(num_stacks=2, num_features=8, depth=1, num_keypoints=14)
    save_checkpoint(path, net, name="small", input=InputSpec((64, 64)), keypoints=LSP14, half=False)
    return path


@pytest.fixture
def sweep(checkpoint, tmp_path, monkeypatch, capfd):
    """sweep(*words): exit code, stdout and stderr of the command, in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hgedge.sweep.measure.ROUNDS", 30)
    monkeypatch.setattr("hgedge.sweep.measure.interleaved", functools.partial(interleaved, warmup=2))
    monkeypatch.chdir(tmp_path)

    def run(*own, model=checkpoint):
        code = main(["sweep", str(model), *COMMON, *own])
        return code, *capfd.readouterr()

    return run


def test_stacks_are_swept_and_the_recipe_builds_the_very_candidate(sweep, tmp_path, capfd):
    code, stdout, stderr = sweep(*GRID, "--points", "100", "--under", "0.0001", "--output", "found", "--json")
    assert code == 1, stderr
    document = json.loads(stdout)
    assert [(row["num_stacks"], row["input_hw"], row["placement"]) for row in document["rows"]] == [
        (2, [64, 64], "conv"),
        (1, [64, 64], "conv"),
    ]
    assert document["rows"][0]["gmacs"] > document["rows"][1]["gmacs"]
    assert document["latency"]["baseline"]["name"] == "2 stacks 64x64 fp32"
    fastest, under = document["recommendations"]
    assert under["row"] is None and under["recipe"] is None and under["said"].startswith("none; the fastest is ")
    files = {path.name for path in (tmp_path / "found").iterdir()}
    assert files == {"sweep.json", "sweep.csv", "sweep.png", "sweep.html", "within-100-points.toml",
                     "ranges-64x64.json"}  # fmt: skip
    assert json.loads((tmp_path / "found" / "sweep.json").read_text()) == document
    with open(tmp_path / "found" / "sweep.csv", newline="") as file:
        assert [row["num_stacks"] for row in csv.DictReader(file)] == ["2", "1"]

    chosen = document["rows"][fastest["row"]]
    head = (tmp_path / "found" / "within-100-points.toml").read_text()
    assert chosen["name"] in head and document["environment"]["device"]["name"] in head
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert main(["build", str(tmp_path / fastest["recipe"]), "--json"]) == 0
    bundle = Path(json.loads(capfd.readouterr().out)["bundle"]).resolve()
    manifest = read_manifest(bundle)
    assert manifest.files["model.onnx"] == chosen["model_onnx_sha256"], "the recipe builds something else"
    assert (manifest.model.num_stacks, manifest.precision) == (chosen["num_stacks"], "int8")
    scored = evaluate(str(bundle), Path("figures:40"), limit=4)
    assert scored["metrics"][document["metrics"]["loose"]] == chosen["accuracy"]
    for words in (("--stacks", "5"), ("--input", "32x32")):
        code, _, stderr = sweep(*words, model=bundle)
        assert code == 2 and f"{words[0]} must be " in stderr

    os.chdir(tmp_path)
    code, shown, stderr = sweep(*GRID, "--output", "found")  # recalled, and shown to people
    assert code == 0, stderr
    assert "fastest within 1 point of the best" in shown and "*" in shown and "hgedge build found/" in shown
    assert "of 2:" not in stderr, "what was measured was measured again"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stacks", "1,3"), "--stacks must be from 1 to 2 for small, but got 1,3"),
        (("--stacks", "one"), "--stacks must be numbers with commas between, such as 1,2, but got 'one'"),
        (("--input", "64x64,60x60"), "--input must be multiples of 8 for small, but got 60x60; the nearest is 64x64"),
        (("--input", "64"), "--input must be HEIGHTxWIDTH in pixels with commas between"),
        (("--precision", "int4"), "--precision must be of fp32, fp16, bf16, int8, but got 'int4'"),
        (("--points", "-1"), "--points must not be negative"),
        (("--calibration", "nothing"), "no such calibration folder, recipe or table: nothing"),
    ],
)
def test_bad_input_leaves_nothing(sweep, tmp_path, words, message):
    code, stdout, stderr = sweep(*words)
    assert (code, stdout) == (2, "") and message in stderr
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_told_before_the_work(sweep, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, stderr = sweep("--output", "taken/here")
    assert code == 2 and "cannot write to taken/here: Not a directory; choose another --output" in stderr
