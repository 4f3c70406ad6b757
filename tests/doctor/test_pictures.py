from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from hgedge.doctor.attempts import Attempt
from hgedge.doctor.pictures import cameras, display, ffmpeg, gstreamer, opencv

PIP = {"gui": "QT5", "ffmpeg": "YES", "gstreamer": "NO", "hog": True}
ONE = {"opencv-python": "4.14.0.94"}


def cv2(version: str = "4.14.0", **facts) -> dict[str, Attempt]:
    return {"cv2": Attempt(version, {**PIP, **facts})}


@pytest.mark.parametrize(
    ("attempts", "packages", "state", "found", "fix"),
    [
        (cv2(), ONE, "ok", "4.14.0 (opencv-python)", None),
        (cv2(), {}, "ok", "4.14.0 (of the system)", None),
        ({}, {}, "missing", "not installed", "pip install 'hgedge[video]'"),
        (cv2("5.0.0", hog=False), ONE, "broken", "no HOG people detector", "pip install 'opencv-python>=4.8,<5'"),
        (cv2("5.1.0"), ONE, "broken", "5.1.0", "pip install 'opencv-python>=4.8,<5'"),
        (cv2("4.5.4"), ONE, "broken", "too old", "pip install 'opencv-python>=4.8,<5'"),
        (
            cv2(),
            {**ONE, "opencv-contrib-python-headless": "4.14.0.94"},
            "broken",
            "opencv-python and opencv-contrib-python-headless overwrite",
            "pip uninstall -y opencv-python opencv-contrib-python-headless && pip install 'opencv-python>=4.8,<5'",
        ),
        (
            {"cv2": Attempt(error="libGL.so.1: cannot open shared object file: No such file or directory")},
            ONE,
            "broken",
            "libGL.so.1",
            "sudo apt install libgl1",
        ),
        ({"cv2": Attempt(error="numpy.core.multiarray failed to import")}, ONE, "broken", "NumPy 1", "reinstall"),
        ({"cv2": Attempt(error="numpy.core.multiarray failed to import")}, {}, "broken", "NumPy 1", "'numpy<2'"),
    ],
)
def test_opencv(make_machine, attempts, packages, state: str, found: str, fix: str | None) -> None:
    check = opencv(make_machine({}, attempts, packages=packages))
    assert check.state == state and found in check.found
    assert check.fix is None if fix is None else fix in check.fix


def test_a_jetson_without_opencv_gets_jetpacks(make_machine, orin) -> None:
    assert opencv(make_machine(orin, {})).fix == "sudo apt install nvidia-opencv"


def test_gstreamer_matters_on_a_jetson_alone(make_machine, orin) -> None:
    assert gstreamer(make_machine({}, cv2(), packages=ONE)).state == "absent"
    assert gstreamer(make_machine({}, cv2(gstreamer="YES"))).state == "ok"
    check = gstreamer(make_machine(orin, cv2(), packages=ONE))
    assert check.state == "missing" and "opencv-python hides JetPack's" in check.found
    assert check.fix == "pip uninstall -y opencv-python && sudo apt install nvidia-opencv"


def test_ffmpeg(make_machine) -> None:
    states = [ffmpeg(make_machine({}, attempts)).state for attempts in (cv2(), cv2(ffmpeg="NO"), {})]
    assert states == ["ok", "missing", "absent"]


def test_cameras_by_number_with_their_names(make_machine) -> None:
    assert [check.state for check in cameras(make_machine())] == ["absent"]
    files = {"dev/video10": "", "dev/video2": "", "sys/class/video4linux/video2/name": "Webcam\n"}
    (check,) = cameras(make_machine(files))
    assert (check.state, check.found) == ("ok", "--camera 2 (Webcam), 10")


@pytest.fixture
def open_folder():
    """A folder that everybody may look into, as a test's own is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_cameras_that_may_not_be_opened(make_machine, open_folder, stranger) -> None:
    for name, mode in (("video0", 0o666), ("video1", 0o000)):
        (open_folder / "dev").mkdir(mode=0o755, exist_ok=True)
        (open_folder / "dev" / name).touch()
        (open_folder / "dev" / name).chmod(mode)
    (check,) = cameras(make_machine(root=open_folder))
    assert (check.state, check.found) == ("missing", "/dev/video1 may not be opened by you")
    assert check.fix.startswith("sudo usermod -aG ") and check.fix.endswith(" $USER (then log in again)")
    (open_folder / ".dockerenv").touch()
    (check,) = cameras(make_machine(root=open_folder))
    assert check.fix == "start the container with --device /dev/video0 --group-add video"


def test_csi_cameras_of_a_jetson(make_machine, orin) -> None:
    assert cameras(make_machine(orin))[1].fix == "sudo systemctl restart nvargus-daemon"
    inside = {**orin, ".dockerenv": ""}
    assert "-v /tmp/argus_socket:/tmp/argus_socket" in cameras(make_machine(inside))[1].fix
    assert cameras(make_machine({**inside, "tmp/argus_socket": ""}))[1].state == "ok"


@pytest.mark.parametrize(
    ("environment", "gui", "state", "words"),
    [
        ({}, "QT5", "absent", "--save"),
        ({"DISPLAY": ":0"}, "QT5", "ok", ":0"),
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ""}, "GTK3", "ok", "wayland-0"),
        ({"DISPLAY": ":0"}, "NONE", "missing", "no windows"),
    ],
)
def test_display(make_machine, environment, gui: str, state: str, words: str) -> None:
    check = display(make_machine({}, cv2(gui=gui), environment=environment))
    assert check.state == state and words in check.found
    assert state != "missing" or "--no-window" in check.fix
