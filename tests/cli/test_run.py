"""`hgedge run` and `evaluate`, by the program, on a photograph, and on videos that are drawn here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

STAGES = ["capture", "preprocess", "infer", "decode", "total"]
LONG = 2000  # frames: more than are done before the test says stop


def video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), index % 256, np.uint8))
    writer.release()
    return path


def num_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def test_a_photograph_with_the_newest_engine(hgedge, bundle: Path, astronaut: Path, tmp_path: Path) -> None:
    saved = tmp_path / "out.jpg"
    done = hgedge("run", "--source", astronaut, "--save", saved, "--json", cwd=bundle.parents[1])
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert Path(document["bundle"]) == Path("engines/tiny-fp32-openvino")
    assert (document["frames"], document["people"], document["save"]) == (1, 1, str(saved))
    assert (document["dropped"], document["ids"], document["jsonl"], document["coco"]) == (0, 1, None, None)
    assert list(document["latency_ms"]) == [*STAGES, "output"]
    assert all(
        list(values) == ["p50", "p95", "p99"] for values in (*document["latency_ms"].values(), document["age_ms"])
    )
    assert cv2.imread(str(saved)).shape == cv2.imread(str(astronaut)).shape


def test_lines_on_stdout_and_the_summary_on_stderr(hgedge, bundle: Path, tmp_path: Path) -> None:
    source = video(tmp_path / "in.mp4", 7)
    done = hgedge("run", "--source", source, "--engine", bundle, "--jsonl", "-", "--limit-frames", "5")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3, 4]
    for line in lines:
        assert set(line) >= {"frame", "timestamp_s", "age_ms", "people", "latency_ms"}
        assert list(line["latency_ms"]) == STAGES
        (person,) = line["people"]
        assert set(person) == {"id", "box_xyxy", "score", "keypoints"} and len(person["keypoints"]) == 14
    assert "frames: 5, people: 5, ids: 1, dropped: 0, " in done.stderr
    assert "ms (p50 / p95 / p99): capture" in done.stderr and ", age " in done.stderr


def test_a_video_is_saved_whole(hgedge, bundle: Path, tmp_path: Path) -> None:
    source = video(tmp_path / "in.mp4", 6)
    targets = ("--save", "out.mp4", "--jsonl", "out.jsonl", "--coco", "out.json")
    done = hgedge("run", "--source", source, "--engine", bundle, *targets, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert num_frames(tmp_path / "out.mp4") == 6
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    results = json.loads((tmp_path / "out.json").read_text())
    assert [line["frame"] for line in lines] == [result["image_id"] for result in results] == list(range(6))
    for line, result in zip(lines, results):
        assert result["keypoints"] == [value for joint in line["people"][0]["keypoints"] for value in joint]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_whole_files(bundle: Path, tmp_path: Path, program_environment, number: int) -> None:
    source = video(tmp_path / "in.mp4", LONG)
    arguments = ["run", "--source", source, "--engine", bundle, "--save", "out.mp4", "--jsonl", "-"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hgedge", *map(str, arguments)],
        cwd=tmp_path, env=program_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = [process.stdout.readline() for _ in range(3)]
    process.send_signal(number)
    rest = process.stdout.read()  # what readline() read ahead, too, which communicate() drops
    _, errors = process.communicate()
    lines = [json.loads(line) for line in [*first, *rest.splitlines()]]
    assert process.returncode == 0, errors
    assert 3 <= len(lines) < LONG
    assert num_frames(tmp_path / "out.mp4") == len(lines)
    assert f"frames: {len(lines)}, " in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_reader_that_goes_away_ends_it_with_whole_files(bundle: Path, tmp_path: Path, program_environment) -> None:
    source = video(tmp_path / "in.mp4", LONG)
    read, write = os.pipe()
    os.close(read)
    arguments = ["run", "--source", source, "--engine", bundle, "--save", "out.mp4", "--jsonl", "-", "-q"]
    command = [sys.executable, "-m", "hgedge", *map(str, arguments)]
    settings = {"cwd": tmp_path, "env": program_environment}
    done = subprocess.run(command, **settings, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
    assert num_frames(tmp_path / "out.mp4") in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "nowhere.mp4"), "no such file or folder: nowhere.mp4"),
        (("--source", "ASTRONAUT", "--engine", "nowhere"), "nowhere does not exist; make one with: hgedge build"),
        (("--source", "ASTRONAUT", "--engine", "BUNDLE", "--save", "out.txt"), "out.txt has an extension"),
        (("--source", "ASTRONAUT", "--engine", "BUNDLE", "--jsonl", "no/out.jsonl"), "no/out.jsonl cannot be written"),
        (("--source", "ASTRONAUT", "--people", "cats"), "people are found by whole, hog, onnx:PATH or boxes:FILE, but"),
        (("--source", "ASTRONAUT", "--preview-token", "secret"), "--preview-token is for --preview"),
        (("--source", "ASTRONAUT", "--raw", "9x9"), "--raw is for frames on standard input"),
        (("--source", "-"), "whose size must be told: --raw WIDTHxHEIGHT[:PIXELS[:FPS]]"),
    ],
)
def test_bad_input_leaves_nothing(hgedge, bundle, astronaut, tmp_path: Path, arguments, message: str) -> None:
    places = {"ASTRONAUT": astronaut, "BUNDLE": bundle}
    done = hgedge("run", *(places.get(word, word) for word in arguments), "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_evaluate(hgedge, bundle: Path, shared_data: Path) -> None:
    arguments = ("evaluate", bundle, "--data", shared_data / "lspet", "--split", "val", "--limit", "20")
    done = hgedge(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) >= {"metrics", "per_keypoint", "num_people", "num_left_out", "num_keypoints"}
    assert all(0 <= value <= 100 for value in document["metrics"].values())
    assert {"PCK@0.2 mean", "PCK@0.2 pooled"} <= set(document["metrics"])
    assert document["num_people"] + document["num_left_out"] == 20
    people = hgedge(*arguments)
    assert people.returncode == 0 and "PCK@0.2" in people.stdout and "left_wrist" in people.stdout
