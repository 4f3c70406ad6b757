from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import ConfigError, SourceError
from hgedge.sinks.pictures import PictureSink

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_single_picture_appears_on_leaving(tmp_path: Path) -> None:
    with PictureSink(tmp_path / "out.png") as sink:
        sink.write(IMAGE, "ignored.jpg")
        assert not (tmp_path / "out.png").exists()
    assert listed(tmp_path) == ["out.png"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png")), IMAGE)


def test_single_picture_takes_no_second(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"out\.png holds one picture, but more came; give a folder"),
        PictureSink(tmp_path / "out.png") as sink,
    ):
        sink.write(IMAGE)
        sink.write(IMAGE)
    assert listed(tmp_path) == []


def test_folder_keeps_names_and_never_loses_a_picture(tmp_path: Path) -> None:
    given = ["a.png", "b.jpg", "a.png", "c.gif", "", "deep/d.BMP", "noext"]
    with PictureSink(tmp_path / "out") as sink:
        for name in given:
            sink.write(IMAGE, name)
    assert listed(tmp_path) == ["out"]
    expected = ["000004.jpg", "a-2.png", "a.png", "b.jpg", "c.jpg", "d.BMP", "noext.jpg"]
    assert listed(tmp_path / "out") == expected
    assert all(cv2.imread(str(tmp_path / "out" / name)).shape == IMAGE.shape for name in expected)


def test_folder_that_is_there_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "out.d").mkdir()
    (tmp_path / "out.d" / "mine.txt").write_text("keep")
    (tmp_path / "out.d" / "a.png").write_text("old")
    with PictureSink(tmp_path / "out.d") as sink:
        sink.write(IMAGE, "a.png")
    assert listed(tmp_path) == ["out.d"] and listed(tmp_path / "out.d") == ["a.png", "mine.txt"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.d" / "a.png")), IMAGE)


@pytest.mark.parametrize("name", ["out.png", "out"])
def test_nothing_stays_after_an_exception(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), PictureSink(tmp_path / name) as sink:
        sink.write(IMAGE, "a.png")
        raise RuntimeError
    assert listed(tmp_path) == []


@pytest.mark.parametrize("name", ["out.png", "out"])
def test_nothing_written_leaves_nothing(tmp_path: Path, name: str) -> None:
    with PictureSink(tmp_path / name):
        pass
    assert listed(tmp_path) == []


@pytest.mark.parametrize("name", ["out.png", "out"])
def test_interrupt_keeps_what_there_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt), PictureSink(tmp_path / name) as sink:
        sink.write(IMAGE, "a.png")
        raise KeyboardInterrupt
    assert listed(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "out.xyz",
            r"out\.xyz has an extension of no picture: known are \.jpg .*; a name without extension makes a folder",
        ),
        ("missing/out.png", r"out\.png cannot be written: there is no folder .*missing; make it first"),
        ("missing/out", r"out cannot be written: there is no folder .*missing"),
        ("file/out.png", r"there is no folder .*file"),
        ("file", r"file is a file; expected a folder, or a name that is free"),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=message):
        PictureSink(tmp_path / name)
    assert listed(tmp_path) == ["file"]


def test_name_that_became_a_folder_meanwhile(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"out\.png cannot be written: Is a directory"),
        PictureSink(tmp_path / "out.png") as sink,
    ):
        sink.write(IMAGE)
        (tmp_path / "out.png").mkdir()
    assert listed(tmp_path) == ["out.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=r"out\.png cannot be written: Permission denied"):
        PictureSink(tmp_path / "out.png")


def test_picture_that_cannot_be_encoded(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"out\.jpg cannot be written"),
        PictureSink(tmp_path / "out.jpg") as sink,
    ):
        sink.write(np.zeros((0, 0, 3), np.uint8))
    assert listed(tmp_path) == []
