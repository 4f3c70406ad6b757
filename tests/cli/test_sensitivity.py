"""`hgedge sensitivity`, as the program runs it."""

from __future__ import annotations

import json

import onnx
import pytest

from hgedge.cli.main import main
from hgedge.models.zoo import shipped_half
from hgedge.quantization.groups import groups

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")

FREE = ("hgs.1.up.0", "features.1.0.0")  # so few that the test is quick
ROUNDS = 3  # no time decides a test
LOOSE, TIGHT = "within@0.1 pooled", "within@0.03 pooled"


@pytest.fixture
def faces(shared_data):
    if not (shared_data / "faces").is_dir():
        pytest.skip("needs the data set ../shared/data/faces")
    return shared_data / "faces"


@pytest.fixture
def sensitivity(faces, tmp_path, monkeypatch, capfd):
    """sensitivity(*words): exit code, stdout and stderr of the command on face68, in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hgedge.budget.lab.ROUNDS", ROUNDS)
    monkeypatch.chdir(tmp_path)
    names = groups(onnx.load(shipped_half("face68") / "source.onnx"))
    kept = ",".join(name for name in names if name not in FREE)
    words = ["--data", str(faces.resolve()), "--limit", "40", "--float-groups", kept, "--backend", "onnxruntime"]

    def run(*own, model="face68"):
        code = main(["sensitivity", model, *words, *own])
        return code, *capfd.readouterr()

    return run


def test_table_json_and_plot(sensitivity, tmp_path):
    code, stdout, stderr = sensitivity("--plot", "cost.png", "--json")
    assert code == 0, stderr
    document = json.loads(stdout)
    assert (document["model"], document["backend"], document["placement"]) == ("face68", "onnxruntime", "stream")
    assert [document[name] for name in ("data", "split", "half", "num_people")] == ["faces68", "val", "search", 20]
    assert document["metrics"] == {"loose": LOOSE, "tight": TIGHT}
    assert [row["group"] for row in document["rows"]] == list(FREE)
    for row in document["rows"]:
        assert set(row) == {"group", "convs", "cost", "saved_ms", "noise_ms", "rank"}
        assert 0 < row["cost"]["heatmap_error"] < 1.5 * document["int8"]["heatmap_error"]
        assert set(row["cost"]["drop"][LOOSE]) == {"points", "low", "high"}
    assert document["fp32"]["heatmap_error"] == 0 and document["fp32"]["ms"] > 0
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")

    (notes,) = (tmp_path / "cache" / "hgedge" / "budget").iterdir()
    before = notes.read_bytes()
    code, shown, stderr = sensitivity()
    assert code == 0, stderr
    assert notes.read_bytes() == before, "what had been measured was measured again"
    assert all(name in shown for name in (*FREE, "heatmap error", "saves", "none: FP32", "all: INT8 stream"))


def test_bad_input_leaves_nothing(sensitivity, tmp_path):
    code, _, stderr = sensitivity("--plot", "cost.png", model="default")
    assert code == 2 and "labelled with the 68 keypoints 'face68', but default predicts the 14" in stderr
    code, _, stderr = sensitivity("--plot", "cost.txt")
    assert code == 2 and "cost.txt must end in .png or .svg or .pdf" in stderr
    assert list(tmp_path.iterdir()) == []
