from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.sources import camera, open_camera, open_source

ROOT = Path(__file__).parents[2]
ABSENT = 4095
linux = pytest.mark.skipif(sys.platform != "linux", reason="cameras are /dev/videoN on Linux only")


@linux
@pytest.mark.parametrize("spec", [ABSENT, str(ABSENT), f"/dev/video{ABSENT}", Path(f"/dev/video{ABSENT}")])
def test_absent_camera(spec: int | str | Path) -> None:
    with pytest.raises(
        BackendUnavailable, match=rf"camera {ABSENT} \(/dev/video{ABSENT}\) is not there; cameras found: "
    ) as raised:
        open_source(spec)
    assert raised.value.exit_code == 3


def test_negative_index() -> None:
    with pytest.raises(ConfigError, match="a camera is named by a number from 0, but got -1"):
        open_camera(-1)


@pytest.mark.parametrize("name", ["x", "", "csi:", "csi:-1", "usb:0", "/dev/video"])
def test_what_names_no_camera(name: str) -> None:
    with pytest.raises(ConfigError, match="a camera is named by a number from 0, but got .*csi:N on a Jetson"):
        open_camera(name)


def test_a_turn_that_is_none() -> None:
    with pytest.raises(ConfigError, match="a camera can be turned by 0, 90, 180, 270 degrees, but got 45"):
        open_camera(0, turn=45)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_frames(tmp_path: Path, turn: int) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    writer.release()
    upright = next(camera.frames_of(cv2.VideoCapture(str(tmp_path / "x.avi")), "0"))
    turned = next(camera.frames_of(cv2.VideoCapture(str(tmp_path / "x.avi")), "0", turn=turn))
    np.testing.assert_array_equal(turned.image, np.rot90(upright.image, -turn // 90))
    assert turned.pixels == "bgr" and camera.turned((64, 48), turn) == turned.image.shape[1::-1]


def test_path_that_is_a_number_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7").write_bytes(cv2.imencode(".png", np.zeros((4, 5, 3), np.uint8))[1].tobytes())
    monkeypatch.chdir(tmp_path)
    with open_source(Path("7")) as source:
        assert source.info.kind == "images" and source.info.frame_wh == (5, 4)


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev with three files that are called like cameras, one of them named."""
    for number in (10, 2, ABSENT):
        (tmp_path / f"video{number}").touch()
    (tmp_path / "video2x").touch()
    (tmp_path / "names" / "video2").mkdir(parents=True)
    (tmp_path / "names" / "video2" / "name").write_text("USB Camera\n")
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    monkeypatch.setattr(camera, "NAMES", tmp_path / "names")
    return tmp_path


def test_found_cameras_are_listed_by_number_with_their_names(devices: Path) -> None:
    assert camera.found_cameras() == ["2 (USB Camera)", "10", str(ABSENT)]


@linux
def test_message_lists_the_cameras(devices: Path) -> None:
    with pytest.raises(
        BackendUnavailable, match=r"camera 7 .* is not there; cameras found: 2 \(USB Camera\), 10, 4095; plug"
    ):
        open_camera(7)


@linux
def test_device_that_gives_no_picture(devices: Path) -> None:
    with pytest.raises(
        BackendUnavailable, match=rf"camera {ABSENT} .* gave no picture; another program may be using it"
    ):
        open_camera(ABSENT, frame_wh=(640, 480), fps=30)


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_rooms_does_not_import_opencv() -> None:
    assert run("import sys, hgedge.sources, hgedge.sinks, hgedge.visualization; print('cv2' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "call",
    [
        "from hgedge.sources import open_source; open_source('hgedge')",
        "from hgedge.sources import open_camera; open_camera(0)",
        "from hgedge import sinks, sources; sinks.open_sink('a.mp4', sources.SourceInfo('video'))",
        "import hgedge.visualization.draw",
    ],
)
def test_missing_opencv_says_how_to_install_it(call: str) -> None:
    code = (
        f"import sys; sys.modules['cv2'] = None\nfrom hgedge.errors import BackendUnavailable\n"
        f"try:\n    {call}\nexcept BackendUnavailable as error: print(error)"
    )
    said = run(code)
    assert "need OpenCV, but it is not here" in said and said.endswith("install it with: pip install 'hgedge[video]'")
