"""A machine as the doctor sees it: its files under a root, its environment, and what became of some imports."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from hgedge.doctor.attempts import IMPORTS, Attempt, try_imports

OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
PACKAGES = (*OPENCVS, "onnxscript", "onnxsim", "pycuda", "safetensors")  # whose versions are looked up, not imported
CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
NVIDIA, DISPLAY_CLASS = "0x10de", "0x03"  # of a device on the PCI bus


@dataclass(frozen=True)
class Machine:
    """A description, so that any machine can be examined: this one, or a folder of files that stands for one.

    Attributes:
        root: What `/` is.
        folder: Where engines would go.
        environment: Environment variables.
        architecture: "x86_64", "aarch64".
        cores: That this process may use.
        python: Major and minor version.
        prefix: Folder of the virtual environment, or of Python itself.
        attempts: Module -> what became of its import in a process of its own.
        packages: Distribution -> version, of those in PACKAGES that are installed.
    """

    root: Path = Path("/")
    folder: Path = Path(".")
    environment: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "x86_64"
    cores: int = 1
    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1])
    prefix: Path = Path(sys.prefix)
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)

    def text(self, path: str) -> str:
        """A file's text; "" where it is not there or not to be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        except OSError:
            return ""

    def attempt(self, module: str) -> Attempt:
        """What became of an import; as if it were not installed, where nobody tried."""
        return self.attempts.get(module, Attempt(error=f"No module named {module!r}", missing=module))

    @property
    def path_folders(self) -> list[str]:
        """Where programs are looked for."""
        return [folder for folder in self.environment.get("PATH", "").split(os.pathsep) if folder]

    @property
    def l4t(self) -> str:
        """Release of Jetson Linux, such as "36.4.3"; "" elsewhere."""
        found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", self.text("etc/nv_tegra_release"))
        return f"{found[1]}.{found[2]}" if found else ""

    @property
    def is_jetson(self) -> bool:
        """Whether it is a Jetson, seen from a container too."""
        return bool(self.l4t) or re.search("jetson|tegra", self.text("proc/device-tree/model"), re.I) is not None

    @property
    def in_container(self) -> bool:
        """Whether this is the inside of a container."""
        return any((self.root / mark).exists() for mark in CONTAINER_MARKS)

    @property
    def has_nvidia_card(self) -> bool:
        """Whether an NVIDIA display device is on the PCI bus; a Jetson's GPU is on none."""
        for vendor in self.root.glob("sys/bus/pci/devices/*/vendor"):
            where = str(vendor.parent.relative_to(self.root))
            if self.text(f"{where}/vendor") == NVIDIA and self.text(f"{where}/class").startswith(DISPLAY_CLASS):
                return True
        return False

    @property
    def gpu(self) -> str:
        """The GPU that the driver names, as "NVIDIA H200 (sm_90)"; "" without one."""
        return str(self.attempt("hgedge.doctor.driver").facts.get("gpu", ""))

    @property
    def has_nvidia_gpu(self) -> bool:
        """Whether there is a GPU to build for, with a working driver or without."""
        return bool(self.gpu) or self.is_jetson or self.has_nvidia_card


def this_machine(imports: Iterable[str] = IMPORTS) -> Machine:
    """The machine that this runs on; imports what is named, in processes of their own."""
    return Machine(
        environment=dict(os.environ),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        attempts=try_imports(imports),
        packages=_installed(),
    )


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
