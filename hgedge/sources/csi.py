"""Cameras on a Jetson's CSI connectors: Argus develops the sensor's raw Bayer, GStreamer hands over its NV12.

Frames stay NV12, (H * 3 / 2, W) uint8, as the hardware makes them: no `videoconvert` on the CPU, and half the bytes of
BGRx. An OpenCV with GStreamer takes NV12 from an appsink since 3.3 and BGRx (H, W, 4) since about 4.5, takes out the
padding of rows and converts neither, whatever CAP_PROP_CONVERT_RGB says; 4.6 was tried, JetPack 6 has 4.8.

Source: OpenCV, modules/videoio/src/cap_gstreamer.cpp; NVIDIA, Accelerated GStreamer (nvarguscamerasrc, nvvidconv).
"""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.sources import camera
from hgedge.sources.clock import sane_fps
from hgedge.sources.opencv import cv2, quiet, timeouts
from hgedge.sources.source import Source, SourceInfo

log = logging.getLogger(__name__)

DEVICE_NAME = "vi-output, "  # Tegra's video input, then the sensor: "vi-output, imx219 9-0010"
ARGUS = Path("/tmp/argus_socket")
FRAME_WH, FPS = (1920, 1080), 30.0  # a mode of every common sensor
FORMATS = {"nv12": "NV12", "bgrx": "BGRx"}  # as Frame.pixels and GStreamer call them
FLIP_METHODS = {0: 0, 90: 3, 180: 2, 270: 1}  # of nvvidconv, by degrees clockwise
SINK = "appsink drop=true max-buffers=1 sync=false"  # the newest frame, at once
SYSTEM_OPENCV = (
    "a pip OpenCV has none and hides JetPack's: pip uninstall -y opencv-python, sudo apt install nvidia-opencv, "
    "in a virtual environment made with: python3 -m venv --system-site-packages DIR"
)


def sensor_of(index: int) -> int | None:
    """The CSI sensor that /dev/videoN shows the raw Bayer of, None for any other camera.

    Argus counts sensors on its own, here by the order of their devices.
    """
    sensors = [number for number in camera.numbers() if camera.name_of(number).startswith(DEVICE_NAME)]
    return sensors.index(index) if index in sensors else None


def open_csi(
    sensor: int,
    frame_wh: tuple[int, int] | None = None,
    fps: float | None = None,
    turn: int = 0,
    pixels: str = "nv12",
) -> Source:
    """Open a CSI camera; see `hgedge.sources.open_camera`.

    Args:
        sensor: As Argus counts them.
        frame_wh: Width and height before turning, even; 1920 by 1080 by default. Argus picks a sensor mode for it.
        fps: Frames a second, 30 by default.
        turn: Degrees clockwise, done by the hardware.
        pixels: "nv12" or "bgrx".

    Raises:
        BackendUnavailable: OpenCV has no GStreamer, or the camera gives no frames.
        ConfigError: A size is odd, which NV12 cannot be.
    """
    frame_wh, name = frame_wh or FRAME_WH, f"csi:{sensor}"
    if any(size % 2 for size in frame_wh):
        raise ConfigError(f"frames of camera {name} must have even sizes, but got {frame_wh[0]}x{frame_wh[1]}")
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise BackendUnavailable(
            f"camera {name} needs an OpenCV with GStreamer, but this one ({cv2.__version__}, in "
            f"{Path(cv2.__file__).parent}) has none; {SYSTEM_OPENCV}"
        )
    text = pipeline(sensor, frame_wh, fps or FPS, turn, pixels)
    log.debug("camera %s: %s", name, text)
    return open_pipeline(name, text, camera.turned(frame_wh, turn), pixels)


def pipeline(sensor: int, frame_wh: tuple[int, int], fps: float, turn: int = 0, pixels: str = "nv12") -> str:
    """The GStreamer pipeline of a CSI camera, in hardware all the way to the appsink."""
    (width, height), (out_width, out_height) = frame_wh, camera.turned(frame_wh, turn)
    rate = Fraction(fps).limit_denominator(1001)
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),format=NV12,width={width},height={height},"
        f"framerate={rate.numerator}/{rate.denominator} ! "
        f"nvvidconv flip-method={FLIP_METHODS[turn]} ! "
        f"video/x-raw,format={FORMATS[pixels]},width={out_width},height={out_height} ! {SINK}"
    )


def open_pipeline(name: str, text: str, frame_wh: tuple[int, int], pixels: str) -> Source:
    """Open a GStreamer pipeline whose appsink gets frames of a known size and layout, and read one.

    Raises:
        BackendUnavailable: It does not start, gives no frame, or other frames than these.
    """
    with quiet():
        capture = cv2.VideoCapture(text, cv2.CAP_GSTREAMER, timeouts(cv2.CAP_GSTREAMER))
        ok, image = capture.read() if capture.isOpened() else (False, None)
    width, height = frame_wh
    expected = (height * 3 // 2, width) if pixels == "nv12" else (height, width, 4)
    if ok and image is not None and image.shape == expected:
        info = SourceInfo("camera", frame_wh, sane_fps(capture.get(cv2.CAP_PROP_FPS)))
        return Source(info, camera.frames_of(capture, name, pixels), capture.release)
    capture.release()
    if ok and image is not None:
        raise BackendUnavailable(
            f"camera {name} must give {FORMATS[pixels]} frames of shape {expected}, but OpenCV {cv2.__version__} gave "
            f"{image.shape}; use JetPack's OpenCV: sudo apt install nvidia-opencv"
        )
    raise BackendUnavailable(f"camera {name} gave no picture: {_why_none()}; cameras found: {camera.listed()}")


def _why_none() -> str:
    """The likeliest reason, and what to do."""
    if not ARGUS.exists():
        return (
            f"the camera service is not there ({ARGUS}); on a Jetson: sudo systemctl restart nvargus-daemon; in a "
            f"container: docker run --runtime nvidia -v {ARGUS}:{ARGUS} ..."
        )
    return (
        "there is no such sensor, another program is using it, or its service hangs: sudo systemctl restart "
        "nvargus-daemon; a sensor that develops its own pictures is read with --camera /dev/videoN"
    )
