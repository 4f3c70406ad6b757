"""Import modules, each in a process of its own: a broken library may crash or hang, and then that is the finding."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("try_import.py")
TIMEOUT_S = 30.0  # a cold import from an SD card takes ten
IMPORTS = (
    "torch",  # the slowest first
    "hgedge.doctor.choice",
    "openvino",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
    "tensorrt",
    "onnxruntime",
    "onnx",
    "cv2",
    "hgedge.doctor.driver",
    "hgedge.doctor.kernels",
    "pycuda.driver",
)


@dataclass(frozen=True)
class Attempt:
    """What became of an import.

    Attributes:
        version: The module's `__version__`, "" if it has none.
        facts: What else it said about itself.
        error: Why it cannot be imported; "" if it can.
        missing: The module that was not found, where that is why.
    """

    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    missing: str = ""


def try_imports(names: Iterable[str], timeout_s: float = TIMEOUT_S) -> dict[str, Attempt]:
    """Import modules side by side, with this process's search path."""
    names = tuple(names)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(names, pool.map(lambda name: try_import(name, timeout_s), names)))


def try_import(name: str, timeout_s: float = TIMEOUT_S) -> Attempt:
    """Import one module; modules that are blocked in this process are blocked there too."""
    blocked = [module for module, value in list(sys.modules.items()) if value is None]
    task = json.dumps({"name": name, "path": sys.path, "blocked": blocked})
    try:
        done = subprocess.run([sys.executable, PROGRAM, task], capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Attempt(error=f"its import did not end within {timeout_s:g} s")
    if done.returncode < 0:
        return Attempt(error=f"its import crashes Python ({signal.Signals(-done.returncode).name})")
    try:
        return Attempt(**json.loads(done.stdout))
    except ValueError:
        return Attempt(error=f"its import ended Python with exit code {done.returncode}")
