from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import ConfigError, SourceError
from hgedge.pose import Frame, Pose
from hgedge.sinks import JsonlSink

STAGES = {"capture": 1.23456, "preprocess": 0.5, "infer": 12.0, "decode": 0.25, "total": 14.0}


def frame(index: int = 0) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index, index / 30, time.monotonic(), 1.5, "a.jpg")


def pose(points: list[list[float]], scores: list[float], score: float = 0.5, person: int = 0) -> Pose:
    return Pose(np.float32(points), np.float32(scores), np.float32([0, 1.005, 20.126, 30]), score, person)


def no_constants(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def read(path: Path) -> list[dict]:
    return [json.loads(line, parse_constant=no_constants) for line in path.read_text(encoding="utf-8").splitlines()]


def test_line_has_the_schema_of_the_contract(tmp_path: Path) -> None:
    people = [pose([[1.23456, 2], [3, 4]], [0.123456, 1], person=3), pose([[5, 6], [7, 8]], [0.5, 0.5])]
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(frame(7), people, STAGES, age_ms=20.00049)
    (line,) = read(tmp_path / "out.jsonl")
    assert line == {
        "frame": 7,
        "timestamp_s": 0.233333,
        "age_ms": 20.0,
        "people": [
            {"id": 3, "box_xyxy": [0, 1.0, 20.13, 30], "score": 0.5, "keypoints": [[1.23, 2, 0.1235], [3, 4, 1]]},
            {"id": 0, "box_xyxy": [0, 1.0, 20.13, 30], "score": 0.5, "keypoints": [[5, 6, 0.5], [7, 8, 0.5]]},
        ],
        "latency_ms": {"capture": 1.235, "preprocess": 0.5, "infer": 12.0, "decode": 0.25, "total": 14.0},
    }
    assert list(line) == ["frame", "timestamp_s", "age_ms", "people", "latency_ms"]


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    person = pose([[math.nan, 2], [math.inf, -math.inf]], [math.nan, 1], score=math.nan)
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(frame(), [person], {**STAGES, "infer": math.nan}, age_ms=math.inf)
    (line,) = read(tmp_path / "out.jsonl")
    assert line["people"][0]["keypoints"] == [[None, 2, None], [None, None, 1]]
    assert line["people"][0]["score"] is None and line["latency_ms"]["infer"] is None and line["age_ms"] is None


def test_stages_not_told_are_null_but_capture_is_the_frames_own(tmp_path: Path) -> None:
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(frame(), [], {"infer": 3.0})
    (line,) = read(tmp_path / "out.jsonl")
    assert line["latency_ms"] == {"capture": 1.5, "preprocess": None, "infer": 3.0, "decode": None, "total": None}
    assert line["people"] == []


def test_age_is_measured_from_the_capture(tmp_path: Path) -> None:
    old = Frame(np.zeros((4, 4, 3), np.uint8), 0, 0.0, time.monotonic() - 5, 0.0)
    with JsonlSink(tmp_path / "out.jsonl") as sink:
        sink.write(old, [], STAGES)
    assert read(tmp_path / "out.jsonl")[0]["age_ms"] >= 5000


def test_lines_are_there_at_once_and_stay_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), JsonlSink(tmp_path / "out.jsonl") as sink:
        for index in range(3):
            sink.write(frame(index), [], STAGES)
            assert [line["frame"] for line in read(tmp_path / "out.jsonl")] == list(range(index + 1))
        raise RuntimeError
    assert len(read(tmp_path / "out.jsonl")) == 3


def test_dash_is_stdout_which_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        with JsonlSink("-") as sink:
            sink.write(frame(index), [], STAGES)
    assert [json.loads(line)["frame"] for line in capsys.readouterr().out.splitlines()] == [0, 1]


@pytest.mark.parametrize("name", ["missing/out.jsonl", "."])
def test_targets_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written: (No such file or directory|Is a directory)"):
        JsonlSink(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk() -> None:
    sink = JsonlSink("/dev/full")
    with pytest.raises(SourceError, match="/dev/full cannot be written: No space left on device"), sink:
        sink.write(frame(), [], STAGES)
