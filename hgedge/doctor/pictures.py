"""OpenCV and what it was built with, cameras, and the screen."""

from __future__ import annotations

import grp
import os
from pathlib import Path

from hgedge.doctor.check import Check
from hgedge.doctor.libraries import fix_of, older
from hgedge.doctor.machine import OPENCVS, Machine

LEAST, BELOW = "4.8", "5"
WANTED = f"'opencv-python>={LEAST},<{BELOW}'"
INSTALL = "pip install 'hgedge[video]'"
REINSTALL = f"pip install --force-reinstall --no-deps {WANTED}"
SYSTEM_OPENCV = "sudo apt install nvidia-opencv"  # Ubuntu's own python3-opencv is too old
OLDER_NUMPY = "pip install 'numpy<2'"


def pictures(machine: Machine) -> list[Check]:
    """The checks of this page."""
    return [opencv(machine), ffmpeg(machine), gstreamer(machine), *cameras(machine), display(machine)]


def opencv(machine: Machine) -> Check:
    """OpenCV: one, of version 4."""
    tried = machine.attempt("cv2")
    installed = [name for name in OPENCVS if name in machine.packages]
    if len(installed) > 1:
        found = f"{' and '.join(installed)} overwrite each other's files"
        return Check("opencv", "broken", found, f"pip uninstall -y {' '.join(installed)} && pip install {WANTED}")
    if tried.missing == "cv2":
        fix = SYSTEM_OPENCV if machine.is_jetson else INSTALL  # a pip OpenCV would hide JetPack's
        return Check("opencv", "missing", "not installed; reads pictures, videos, cameras", fix)
    if "numpy.core.multiarray" in tried.error:
        found = f"{tried.error}: it was built for NumPy 1, as JetPack's is"
        return Check("opencv", "broken", found, REINSTALL if installed else OLDER_NUMPY)
    if tried.error:
        return Check("opencv", "broken", tried.error, fix_of(tried.error, REINSTALL))
    if older(tried.version, LEAST):
        return Check("opencv", "broken", f"{tried.version} is too old", f"pip install {WANTED}")
    if not tried.facts.get("hog", True) or not older(tried.version, BELOW):
        found = f"{tried.version}: OpenCV 5 has no HOG people detector"
        return Check("opencv", "broken", found, f"pip install {WANTED}")
    return Check("opencv", "ok", f"{tried.version} ({installed[0] if installed else 'of the system'})")


def ffmpeg(machine: Machine) -> Check:
    """What reads and writes videos."""
    tried = machine.attempt("cv2")
    if tried.error:
        return Check("ffmpeg", "absent", "comes with OpenCV")
    if tried.facts.get("ffmpeg") == "YES":
        return Check("ffmpeg", "ok", "in OpenCV; reads and writes videos")
    return Check("ffmpeg", "missing", "not in this OpenCV; videos may not be read", REINSTALL)


def gstreamer(machine: Machine) -> Check:
    """What a Jetson's CSI cameras come through; nothing else needs it."""
    tried = machine.attempt("cv2")
    if tried.facts.get("gstreamer") == "YES":
        return Check("gstreamer", "ok", "in OpenCV")
    if not machine.is_jetson:
        return Check("gstreamer", "absent", "only CSI cameras on a Jetson need it")
    installed = [name for name in OPENCVS if name in machine.packages]
    hides = f"; {installed[0]} hides JetPack's, which has it" if installed else ""
    fix = f"pip uninstall -y {' '.join(installed)} && {SYSTEM_OPENCV}" if installed else SYSTEM_OPENCV
    return Check("gstreamer", "missing", f"not in this OpenCV{hides}; CSI cameras need it, USB cameras do not", fix)


def cameras(machine: Machine) -> list[Check]:
    """Video devices, and on a Jetson the way to its CSI cameras."""
    devices = sorted(machine.root.glob("dev/video[0-9]*"), key=lambda path: int("0" + path.name[5:]))
    checks = [_devices(machine, devices)]
    if machine.is_jetson:
        checks.append(_argus(machine))
    return checks


def _devices(machine: Machine, devices: list[Path]) -> Check:
    if not devices:
        return Check("cameras", "absent", "none here; pictures, videos and streams need none")
    closed = [path for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        names = ", ".join(f"/dev/{path.name}" for path in closed)
        group = _group_of(closed[0])
        return Check("cameras", "missing", f"{names} may not be opened by you", _join(machine, group))
    named = (f"{path.name[5:]}{_camera_name(machine, path.name)}" for path in devices)
    return Check("cameras", "ok", f"--camera {', '.join(named)}")


def _join(machine: Machine, group: str) -> str:
    if machine.in_container:
        return "start the container with --device /dev/video0 --group-add video"
    return f"sudo usermod -aG {group} $USER (then log in again)"


def _group_of(path: Path) -> str:
    """The group that may open a device; where that would be root's, the usual one."""
    try:
        name = grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return "video"
    return "video" if name == "root" else name


def _camera_name(machine: Machine, device: str) -> str:
    name = machine.text(f"sys/class/video4linux/{device}/name")
    return f" ({name})" if name else ""


def _argus(machine: Machine) -> Check:
    if (machine.root / "tmp/argus_socket").exists():
        return Check("csi cameras", "ok", "the camera service answers at /tmp/argus_socket")
    if machine.in_container:
        fix = "docker run --runtime nvidia -v /tmp/argus_socket:/tmp/argus_socket ..."
        return Check("csi cameras", "missing", "/tmp/argus_socket is not in this container", fix)
    return Check("csi cameras", "missing", "the camera service is not running", "sudo systemctl restart nvargus-daemon")


def display(machine: Machine) -> Check:
    """Whether `hgedge run` can show a window."""
    screen = machine.environment.get("WAYLAND_DISPLAY") or machine.environment.get("DISPLAY")
    if not screen:
        return Check("display", "absent", "no screen: run shows no window; --save FILE and --jsonl FILE keep results")
    tried = machine.attempt("cv2")
    if not tried.error and tried.facts.get("gui", "NONE") in ("NONE", "NO"):
        found = f"a screen ({screen}), but this OpenCV has no windows"
        return Check("display", "missing", found, "hgedge run --no-window --save FILE (or install opencv-python alone)")
    return Check("display", "ok", f"{screen}; run shows a window, --no-window does without")
