from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hgedge.errors import ConfigError
from hgedge.preview import Preview
from hgedge.preview.painter import Painter
from hgedge.preview.recorder import MAX_GAP_S, Recorder
from hgedge.sources import open_source
from tests.preview.conftest import Run, ask, until

GREY_ERROR = 12  # levels that lossy coding of one flat grey may change
NAME = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?\.mp4"

Serve = Callable[..., Run]


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


def levels(path: Path) -> list[float]:
    with open_source(path) as source:
        return [float(frame.image.mean()) for frame in source]


def test_a_recording_holds_what_was_drawn_and_keeps_the_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder")
    recorder.start(10.0)
    moments = [0.0, 0.1, 0.2, 0.21, 0.22, 0.3, 0.7, 0.8, 60.0, 60.1]  # two too many, then a gap, then a long one
    for index, moment in enumerate(moments):
        recorder.write(grey(20 * index), 1000 + moment)
    state = recorder.stop()
    path = recorder.folder / state.name
    assert re.fullmatch(NAME, path.name) and state.message == f"saved {path}" and not state.active
    assert [entry.name for entry in recorder.folder.iterdir()] == [path.name]
    shown = [0, 1, 2, 5, 6, 6, 6, 6, 7, *[8] * round(10 * MAX_GAP_S), 9]
    found = levels(path)
    assert len(found) == len(shown) and state.seconds == pytest.approx(0.8 + MAX_GAP_S + 0.1)
    assert all(abs(level - 20 * index) <= GREY_ERROR for level, index in zip(found, shown))
    with open_source(path) as source:
        assert source.info.fps == 10


@pytest.mark.parametrize(("fps", "rate"), [(0.0, 25), (0.2, 1), (500.0, 30), (29.6, 30)])
def test_rate_of_a_recording(tmp_path: Path, fps: float, rate: float) -> None:
    recorder = Recorder(tmp_path)
    recorder.start(fps)
    for index in range(5):
        recorder.write(grey(9), index / 10)
    with open_source(tmp_path / recorder.stop().name) as source:
        assert source.info.fps == rate


def test_recordings_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    recorder, names = Recorder(tmp_path), set()
    for _ in range(4):
        recorder.start(10)
        recorder.write(grey(1), 0.0)
        names.add(recorder.stop().name)
    assert len(names) == 4 and {path.name for path in tmp_path.iterdir()} == names


def test_a_full_disk_ends_the_recording_and_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path)
    recorder.start(10)
    recorder.write(grey(50), 0.0)
    monkeypatch.setattr(recorder, "_min_free_bytes", 1 << 62)  # as if so much had to stay free
    recorder.write(grey(50), 0.1)
    state = recorder.state
    assert not state.active and len(levels(tmp_path / state.name)) == 1
    assert re.fullmatch(
        rf"recording ended: the disk of {tmp_path} is full but for \d+ MiB; free some of it; "
        rf"saved {tmp_path / state.name}",
        state.message,
    )
    with pytest.raises(ConfigError, match="is full but for"):
        recorder.start(10)


def test_a_disk_that_fills_all_the_same_leaves_no_broken_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.start(10)
    recorder.write(grey(50), 0.0)
    (partial,) = tmp_path.iterdir()
    partial.unlink()
    partial.symlink_to("/dev/full")
    assert recorder.stop().message.endswith("was not written whole, and is removed; the disk may be full")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_end_the_recording_and_keep_its_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.start(10)
    recorder.write(grey(50), 0.0)
    recorder.write(np.zeros((64, 48, 3), np.uint8), 0.1)
    assert "frames of 64 x 48 pixels, but one of 48 x 64 came" in recorder.state.message
    assert len(levels(tmp_path / recorder.state.name)) == 1


def test_nothing_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.stop().message == ""
    recorder.start(10)
    assert recorder.stop().message == "nothing was recorded: no frame came" and list(tmp_path.iterdir()) == []
    recorder.write(grey(1), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_started_and_stopped_from_the_page(serve: Serve) -> None:
    run = serve()
    run.publish()
    started = ask(run.preview, "/recording/start", "POST")
    assert started.status == 200 and started.json["active"] and re.fullmatch(NAME, started.json["name"])
    again = ask(run.preview, "/recording/start", "POST")
    assert again.status == 409 and again.json == {"error": f"{started.json['name']} is being recorded already"}
    until(lambda: 0 in run.drawn)  # the frame that is there, drawn for the recording alone
    for number in (1, 2):
        run.publish(captured_s=1e6 + number)
        until(lambda number=number: number in run.drawn)
    stopped = ask(run.preview, "/recording/stop", "POST").json
    assert not stopped["active"] and stopped["seconds"] == 2 and stopped["message"].startswith("saved ")
    assert ask(run.preview, "/status.json").json["recording"] == stopped
    assert len(levels(Path(stopped["message"].removeprefix("saved ")))) > 2


def test_the_end_of_the_run_saves_the_recording(tmp_path: Path) -> None:
    with Preview(port=0, recordings=tmp_path) as preview:
        ask(preview, "/recording/start", "POST")
        Run(preview).publish()
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(NAME, path.name) and len(levels(path)) == 1


def test_a_folder_that_cannot_hold_recordings_keeps_the_run(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = serve(recordings=tmp_path / "file")
    answer = ask(run.preview, "/recording/start", "POST")
    assert answer.status == 409 and "file cannot hold recordings: File exists" in answer.json["error"]
    run.publish()
    assert ask(run.preview, "/snapshot.jpg").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/recording/start/../../etc/x",
        "/recording/start?name=../../x.mp4",
        "/recording/..%2f..%2fx",
        "/recording/start%00",
        "/recordings/",
        "/../pyproject.toml",
    ],
)
def test_nobody_names_a_recording(serve: Serve, tmp_path: Path, path: str) -> None:
    run = serve()
    before = set(tmp_path.rglob("*"))
    answer = ask(run.preview, path, "POST")
    if "?" in path:  # what follows is not looked at
        assert re.fullmatch(NAME, answer.json["name"])
    else:
        assert answer.status == 404 and set(tmp_path.rglob("*")) == before


def test_no_recording_starts_after_the_run(tmp_path: Path) -> None:
    painter = Painter(Recorder(tmp_path), lambda picture: None)
    painter.start()
    painter.close()
    with pytest.raises(ConfigError, match="the run has ended; nothing can be recorded any more"):
        painter.order(lambda: pytest.fail("done all the same")).result()
