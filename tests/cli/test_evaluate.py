"""`hgedge evaluate`, as users and scripts meet it."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from hgedge.cli.main import main


@pytest.fixture
def mpii(shared_data):
    return shared_data / "mpii_val"


@pytest.fixture
def program(capfd):
    """program("--json"): exit code, stdout and stderr of `hgedge evaluate`, run in this process."""

    def run(*arguments):
        capfd.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = main(["evaluate", *map(str, arguments)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return code, *capfd.readouterr()

    return run


def test_published_predictions_as_json(hgedge, mpii, tmp_path):
    done = hgedge("evaluate", "--predictions", mpii / "valid-example.h5", "--data", mpii, "--json")
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    assert document["metrics"]["PCKh@0.5 mean of 14"] == 83.347
    assert document["metrics"]["PCKh@0.5 pooled 14"] == 83.927
    assert document["per_keypoint"]["left_ankle"]["PCKh@0.5"] == 72.817
    assert (document["num_people"], document["num_left_out"]) == (2958, 0)
    assert list(tmp_path.iterdir()) == []


def test_published_predictions_for_people(program, mpii):
    code, text, _ = program(
        "--predictions", mpii / "valid-example.h5", "--data", mpii, "--against", mpii / "detections_our_format.mat"
    )
    lines = [line.split() for line in text.splitlines()]
    assert code == 0
    assert ["keypoint", *(f"PCKh@{t}" for t in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)), "PCKh-AUC@0.5"] in lines
    assert ["pooled", "14", "5.2", "18.4", "50.9", "69.7", "78.8", "83.9", "51.9"] in lines
    assert ["left_wrist", "5.4", "19.4", "51.1", "66.3", "73.4", "77.8", "49.8"] in lines
    assert any(line[:4] == ["PCKh@0.5", "pooled", "14", "+1.59"] for line in lines)
    assert "PCKh: 2958 people, 44240 keypoints; 0 people left out" in text
    assert max(map(len, text.splitlines())) <= 120


def test_two_runs_can_be_compared(program, shared_data, tiny_checkpoint, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
    data = ("--data", shared_data / "lspet", "--limit", 20)
    saved, drawn = tmp_path / "straight.npz", tmp_path / "plot.png"
    code, text, _ = program(tiny_checkpoint, *data, "--save-predictions", saved, "--json")
    assert code == 0 and list(tmp_path.iterdir()) == [saved]
    straight = json.loads(text)
    again = json.loads(program("--predictions", saved, *data, "--json")[1])
    assert again["metrics"] == pytest.approx(straight["metrics"], abs=0.5)  # float32 in the file: a joint may tip over
    code, text, _ = program(
        tiny_checkpoint, *data, "--flip-test", "--average-stacks", "--against", saved, "--plot", drawn, "--json"
    )
    document = json.loads(text)
    assert code == 0 and drawn.read_bytes()[:4] == b"\x89PNG"
    assert len(document["curves"]["PCK"]["threshold"]) == len(document["curves"]["PCK"]["percent"]["pooled"]) == 101
    difference = document["intervals"]["PCK@0.5 pooled"]["difference"]
    assert difference["low"] <= difference["points"] <= difference["high"]
    with np.load(saved) as file:
        assert file["keypoints"].shape == file["labels"].shape == (20, 14, 2) and len(file["names"]) == 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of BUNDLE_OR_MODEL and --predictions FILE, but got neither"),
        (("default", "--predictions", "x.npz"), "give one of BUNDLE_OR_MODEL and --predictions FILE, but got both"),
        (("--predictions", "x.npz", "--flip-test"), "--average-stacks and --simulate-fp16 are for running a model"),
        (("--predictions", "nowhere.npz"), "no such file: nowhere.npz"),
        (
            ("--predictions", "MPII/valid-example.h5"),
            "holds 16 keypoints a person, but split 'val' of lspet is labelled",
        ),
        (("--predictions", "MPII/mpii_val.npz"), "must hold 'keypoints' or 'preds', but holds: joints, labelled"),
        (("--predictions", "MPII/valid_images.txt"), "must be a file of predictions"),
        (("default", "--plot", "x.jpg"), "x.jpg must end in .png or .svg or .pdf"),
        (("default", "--save-predictions", "nowhere/x.npz"), "there is no folder"),
        (("default", "--against", "nowhere.npz"), "no such file: nowhere.npz"),
        (("default", "--split", "nope"), "has no split 'nope'"),
        (("no-such-model",), "no such file: 'no-such-model'"),
        (("--limit", "0", "default"), "Invalid value for '--limit'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(program, shared_data, mpii, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("MPII", str(mpii)) for word in arguments]
    code, text, told = program(*words, "--data", shared_data / "lspet")
    assert (code, text) == (2, "") and len(told.splitlines()) == 1
    assert told.startswith("error: ") and message in told
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_has_no_stacks(program, bundle, shared_data):
    code, _, told = program(bundle, "--data", shared_data / "lspet", "--average-stacks")
    assert code == 2 and "is a bundle, which keeps the last stack alone" in told


def test_nan_is_said(program, shared_data, tmp_path):
    np.savez(tmp_path / "nan.npz", preds=np.full((597, 14, 2), np.nan))
    code, text, told = program("--predictions", tmp_path / "nan.npz", "--data", shared_data / "lspet", "--json")
    assert code == 0 and set(json.loads(text)["metrics"].values()) == {0.0}
    assert "predicted keypoints are not finite numbers; they count as wrong" in told
