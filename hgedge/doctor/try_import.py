"""The program that imports one module and prints, as JSON, what became of it."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

LONGEST_ERROR = 400


def cv2_facts(cv2: ModuleType) -> dict[str, Any]:
    """What this build of OpenCV can do."""
    lines = (line.partition(":") for line in cv2.getBuildInformation().splitlines())
    built = {key.strip().lower(): value.strip() for key, _, value in lines}
    words = {name: built.get(name, "NO").split() for name in ("gui", "ffmpeg", "gstreamer")}
    return {name: value[0] if value else "NO" for name, value in words.items()} | {"hog": hasattr(cv2, "HOGDescriptor")}


def tensorrt_facts(trt: ModuleType) -> dict[str, Any]:
    """Whether it is more than a name, and the compute capabilities that it names."""
    names = dir(getattr(trt, "ComputeCapability", None))
    capabilities = sorted(int(name[2:]) for name in names if name[:2] == "SM" and name[2:].isdigit())
    return {"builder": hasattr(trt, "Builder"), "capabilities": capabilities}


FACTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "cv2": cv2_facts,
    "hgedge.doctor.choice": lambda choice: choice.facts(),
    "hgedge.doctor.driver": lambda driver: driver.facts(),
    "hgedge.doctor.kernels": lambda kernels: kernels.facts(),
    "openvino": lambda openvino: {"devices": openvino.Core().available_devices},
    "tensorrt": tensorrt_facts,
    "tensorrt_rtx": tensorrt_facts,
    "tensorrt_rtx_bindings": tensorrt_facts,
    "pycuda.driver": lambda driver: {"cuda": "{}.{}".format(*driver.get_version())},
    "torch": lambda torch: {"cuda": torch.version.cuda, "gpu": torch.cuda.is_available()},
}


def attempt(name: str) -> dict[str, Any]:
    """Import a module; the fields of an `hgedge.doctor.attempts.Attempt`."""
    try:
        module = importlib.import_module(name)
        facts = FACTS[name](module) if name in FACTS else {}
    except BaseException as error:
        text = " ".join(str(error).split())[:LONGEST_ERROR] or type(error).__name__
        return {"error": text, "missing": (error.name or "") if isinstance(error, ModuleNotFoundError) else ""}
    return {"version": str(getattr(module, "__version__", "")), "facts": facts}


def main() -> None:
    """Answer on stdout; what libraries print there goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    task = json.loads(sys.argv[1])
    sys.path[:] = task["path"]
    sys.modules.update(dict.fromkeys(task["blocked"]))
    os.write(answer, json.dumps(attempt(task["name"])).encode())


if __name__ == "__main__":
    main()
