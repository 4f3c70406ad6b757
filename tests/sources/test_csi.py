from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.runtime.pixels import bgr_from, frame_hw
from hgedge.sources import camera, csi, open_camera, open_source

GSTREAMER = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)
with_gstreamer = pytest.mark.skipif(
    not GSTREAMER, reason="this OpenCV has no GStreamer: apt install python3-opencv gstreamer1.0-plugins-base"
)
without_gstreamer = pytest.mark.skipif(GSTREAMER, reason="this OpenCV has GStreamer")
WH = (322, 242)  # rows that GStreamer pads to 324 bytes
COLOUR_TOLERANCE = 3  # grey levels: GStreamer's and OpenCV's arithmetic round differently
PHOTOGRAPH_TOLERANCE = 3.0  # grey levels, mean: 2.1 here, for GStreamer's 8-bit arithmetic and a quarter of the colour
BARS = [(3, 3, 3), (0, 3, 3), (3, 3, 0), (0, 3, 0), (3, 0, 3), (0, 0, 3), (3, 0, 0)]  # BGR, quarters of 255


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev and /sys of a Jetson with a USB camera (and its metadata) plugged in before two CSI sensors woke."""
    names = {0: "HD Webcam C270", 1: "HD Webcam C270", 2: "vi-output, imx219 9-0010", 10: "vi-output, imx477 10-001a"}
    for number, name in names.items():
        (tmp_path / f"video{number}").touch()
        (tmp_path / "names" / f"video{number}").mkdir(parents=True)
        (tmp_path / "names" / f"video{number}" / "name").write_text(f"{name}\n")
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    monkeypatch.setattr(camera, "NAMES", tmp_path / "names")
    monkeypatch.setattr(csi, "ARGUS", tmp_path / "argus_socket")


def test_pipeline() -> None:
    assert csi.pipeline(1, (1280, 720), 59.94) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),format=NV12,width=1280,height=720,framerate=2997/50 ! "
        "nvvidconv flip-method=0 ! video/x-raw,format=NV12,width=1280,height=720 ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


@pytest.mark.parametrize(
    ("turn", "flip", "size"),
    [(90, 3, "width=720,height=1280"), (180, 2, "width=1280,height=720"), (270, 1, "width=720,height=1280")],
)
def test_turned_by_the_hardware(turn: int, flip: int, size: str) -> None:
    assert f"nvvidconv flip-method={flip} ! video/x-raw,format=BGRx,{size} ! " in csi.pipeline(
        0, (1280, 720), 30, turn, "bgrx"
    )


def test_sensors_are_counted_by_the_order_of_their_devices(orin: None) -> None:
    assert [csi.sensor_of(index) for index in (0, 1, 2, 3, 10)] == [None, None, 0, None, 1]


def test_sizes_must_be_even() -> None:
    with pytest.raises(ConfigError, match="frames of camera csi:0 must have even sizes, but got 641x480"):
        open_camera("csi:0", (641, 480))


@without_gstreamer
@pytest.mark.parametrize("spec", ["csi:1", "10", 10])
def test_opencv_without_gstreamer(orin: None, spec: str | int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(BackendUnavailable) as raised:
        open_source(spec)
    message = str(raised.value)
    assert message.startswith(f"camera csi:1 needs an OpenCV with GStreamer, but this one ({cv2.__version__}, in ")
    assert "sudo apt install nvidia-opencv" in message and "--system-site-packages" in message
    said = "camera 10 is vi-output, imx477 10-001a: opened as csi:1"
    assert caplog.messages == ([] if spec == "csi:1" else [said])


def test_a_device_by_its_name_is_read_through_v4l2(orin: None) -> None:
    with pytest.raises(BackendUnavailable, match=r"camera 2 \(.*video2\) gave no picture"):
        open_source("/dev/video2")


@with_gstreamer
def test_no_camera_service(orin: None) -> None:
    with pytest.raises(BackendUnavailable) as raised:
        open_camera("csi:0")
    assert "camera csi:0 gave no picture: the camera service is not there" in str(raised.value)
    assert "docker run --runtime nvidia -v " in str(raised.value) and "2 (vi-output, imx219" in str(raised.value)
    csi.ARGUS.touch()
    with pytest.raises(BackendUnavailable, match="there is no such sensor, .* restart nvargus-daemon"):
        open_camera("csi:0")


def simulated(pixels: str, wh: tuple[int, int] = WH, source: str = "videotestsrc is-live=true pattern=smpte75") -> str:
    """A camera's pipeline with another source in place of the sensor and the hardware that develops it."""
    text, count = re.subn(r"nvarguscamerasrc .* ! nvvidconv \S+", source, csi.pipeline(0, wh, 30, pixels=pixels))
    assert count == 1
    return text.replace("format=NV12", "format=NV12,colorimetry=bt601")  # as NVIDIA's NV12 buffers, whatever their size


@with_gstreamer
@pytest.mark.parametrize("wh", [WH, (1280, 720)])
@pytest.mark.parametrize("pixels", ["nv12", "bgrx"])
def test_frames_arrive_as_the_hardware_makes_them(pixels: str, wh: tuple[int, int]) -> None:
    with csi.open_pipeline("csi:0", simulated(pixels, wh), wh, pixels) as source:
        assert (source.info.kind, source.info.frame_wh, source.info.fps, source.info.live) == ("camera", wh, 30.0, True)
        frames = [next(source) for _ in range(3)]
    assert [frame.index for frame in frames] == [0, 1, 2] and {frame.pixels for frame in frames} == {pixels}
    assert frames[0].timestamp_s == 0 < frames[1].timestamp_s < frames[2].timestamp_s
    picture = bgr_from(frames[2].image, pixels)
    assert frame_hw(frames[2].image, pixels) == picture.shape[:2] == wh[::-1]
    for index, quarters in enumerate(BARS):  # seven bars fill the upper two thirds
        middle = int((index + 0.5) * wh[0] / 7)
        bar = picture[10 : wh[1] // 2, middle - 4 : middle + 4].reshape(-1, 3).astype(int)
        assert np.abs(bar - 255 * np.array(quarters) / 4).max() <= COLOUR_TOLERANCE, index


@with_gstreamer
@pytest.mark.parametrize("pixels", ["nv12", "bgrx"])
def test_a_photograph(pixels: str, root: Path) -> None:
    path = root / "hgedge" / "pictures" / "astronaut.jpg"
    expected = cv2.imread(str(path))
    height, width = expected.shape[:2]
    bgr = "jpegdec ! videoconvert ! video/x-raw,format=BGR"
    photograph = f"filesrc location={path} ! {bgr} ! videoconvert ! imagefreeze is-live=true"
    with csi.open_pipeline("csi:0", simulated(pixels, (width, height), photograph), (width, height), pixels) as source:
        picture = bgr_from(next(source).image, pixels)
    assert np.abs(picture.astype(int) - expected).mean() <= PHOTOGRAPH_TOLERANCE


@with_gstreamer
def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"must give NV12 frames of shape \(300, 320\), but .* gave \(363, 322\)"
    ):
        csi.open_pipeline("csi:0", simulated("nv12"), (320, 200), "nv12")


@with_gstreamer
def test_a_camera_that_stops() -> None:
    text = simulated("nv12", source="videotestsrc is-live=true num-buffers=4")
    with (
        csi.open_pipeline("csi:0", text, WH, "nv12") as source,
        pytest.raises(
            BackendUnavailable, match="camera csi:0 stopped giving pictures after [0-3] frames; check its cable"
        ),
    ):
        list(source)
