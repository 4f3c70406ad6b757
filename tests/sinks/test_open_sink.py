from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import ConfigError
from hgedge.sinks import check_targets, open_sink
from hgedge.sinks.pictures import PictureSink
from hgedge.sinks.video import VideoSink
from hgedge.sources import SourceInfo, open_source

PICTURE = SourceInfo("images", (64, 48), num_frames=1)
FOLDER = SourceInfo("images", num_frames=9)
VIDEO = SourceInfo("video", (64, 48), 12.5, 100)
CAMERA = SourceInfo("camera", (64, 48))


@pytest.mark.parametrize(
    ("name", "source", "kind"),
    [
        ("out.png", PICTURE, PictureSink),
        ("out", PICTURE, PictureSink),
        ("out", FOLDER, PictureSink),
        ("out", VIDEO, PictureSink),
        ("out.mp4", VIDEO, VideoSink),
        ("out.AVI", CAMERA, VideoSink),
        ("out.mp4", FOLDER, VideoSink),
        ("there.mp4", VIDEO, PictureSink),  # a folder that is there
    ],
)
def test_name_and_source_choose_the_sink(tmp_path: Path, name: str, source: SourceInfo, kind: type) -> None:
    (tmp_path / "there.mp4").mkdir()
    with open_sink(tmp_path / name, source) as sink:
        assert type(sink) is kind
        if isinstance(sink, VideoSink):
            assert sink.fps == (source.fps or 25.0) and sink.frame_wh == source.frame_wh


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("out.jpg", FOLDER, r"out\.jpg holds one picture, but the source has 9; save into a folder \(out\)$"),
        ("out.jpg", VIDEO, r"but the source has 100; save into a folder \(out\) or a video \(out\.mp4\)$"),
        ("out.png", CAMERA, r"but the source has many; save into a folder \(out\) or a video \(out\.mp4\)$"),
        (
            "out.xyz",
            VIDEO,
            r"out\.xyz has an extension that cannot be written; known are \.jpg .* for pictures, \.mp4 ",
        ),
    ],
)
def test_refusals_say_what_to_do(tmp_path: Path, name: str, source: SourceInfo, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sink(tmp_path / name, source)
    assert list(tmp_path.iterdir()) == []


def test_source_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite("b.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "link").symlink_to(tmp_path)
    for spec, target in (("a.png", "a.png"), (".", "."), (".", "link"), ("a.png", "."), ("*.png", ".")):
        with open_source(spec) as source, pytest.raises(ConfigError, match="is the source itself"):
            check_targets({"--save": tmp_path / target}, source.info)


def test_two_things_go_into_two_files_and_none_over_what_is_read(tmp_path: Path) -> None:
    check_targets({"--jsonl": "-", "--coco": None, "--save": "a.mp4"}, VIDEO, "boxes.jsonl")
    with pytest.raises(ConfigError, match=r"b/\.\./a cannot hold what both --jsonl and --coco write; give two names"):
        check_targets({"--jsonl": tmp_path / "a", "--coco": tmp_path / "b/../a"}, VIDEO)
    with pytest.raises(ConfigError, match=r"a is read by this run, and would be overwritten; give --jsonl another"):
        check_targets({"--jsonl": tmp_path / "a"}, VIDEO, str(tmp_path / "a"))


@pytest.mark.parametrize("name", ["out.mp4", "out"])
@pytest.mark.parametrize(("source", "kept"), [(VIDEO, False), (CAMERA, True)])
def test_what_cannot_be_recorded_again_is_kept(tmp_path: Path, name: str, source: SourceInfo, kept: bool) -> None:
    with pytest.raises(RuntimeError), open_sink(tmp_path / name, source) as sink:
        sink.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [name] * kept


def test_videos_that_change_their_size_go_on(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.mp4", CAMERA) as sink:
        for height in (48, 96):
            sink.write(np.full((height, 64, 3), 200, np.uint8))
    with open_source(tmp_path / "out.mp4") as source:
        first, second = (frame.image[24].mean(axis=1) for frame in source)
    assert (first > 150).all()
    assert (second[20:44] > 150).all() and (second[:12] < 50).all() and (second[52:] < 50).all()  # half as large


def test_folder_to_folder_and_to_video(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), np.full((48, 64, 3), 90, np.uint8))
    for target in ("out", "out.mp4"):
        with open_source(tmp_path / "in") as source, open_sink(tmp_path / target, source.info) as sink:
            for frame in source:
                sink.write(frame.image, frame.name)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    with open_source(tmp_path / "out.mp4") as source:
        assert source.info.fps == 25.0 and len(list(source)) == 3
