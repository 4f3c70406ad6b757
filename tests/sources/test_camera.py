from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_path_that_is_a_number_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import numpy as np

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
