"""`--backend auto`: TensorRT where an NVIDIA GPU is found and its engines can be built and run, else OpenVINO."""

from __future__ import annotations

import importlib.util

from hgedge import backends
from hgedge.errors import BackendUnavailable


def best_here() -> tuple[str, str]:
    """The best backend for this machine, and why.

    Raises:
        BackendUnavailable: Neither is possible.
    """
    return best(_against_tensorrt(), _against_openvino())


def best(against_tensorrt: str | None, against_openvino: str | None) -> tuple[str, str]:
    """The best backend and why, from what speaks against each; None: nothing.

    Raises:
        BackendUnavailable: Something speaks against both.
    """
    if against_tensorrt is None:
        return "tensorrt", "this machine has an NVIDIA GPU and TensorRT"
    if against_openvino is None:
        return "openvino", against_tensorrt
    raise BackendUnavailable(
        f"--backend auto finds no backend: not TensorRT, as {against_tensorrt}; not OpenVINO, as {against_openvino}; "
        "install one with: pip install 'hgedge[openvino]' for CPUs, or pip install 'hgedge[tensorrt]' for NVIDIA GPUs"
    )


def _against_tensorrt() -> str | None:
    """What speaks against TensorRT here; it is only imported where there is a GPU."""
    build = backends.builder("tensorrt")
    for part, ask in (("NVIDIA GPU", build.device), ("TensorRT", build.version)):
        try:
            ask()
        except BackendUnavailable as error:
            return f"this machine has no {part} ({error.__cause__})"
    return backends.why_not_here("tensorrt")


def _against_openvino() -> str | None:
    return None if importlib.util.find_spec("openvino") else "OpenVINO is not installed"
