"""Prove an exported graph: ONNX Runtime and PyTorch give the same heatmaps."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch

from hgedge.errors import ExportError, ShapeError
from hgedge.export.to_onnx import INPUT, check_fits, inference_copy
from hgedge.models.hourglass import HourglassNet
from hgedge.spec import InputSpec

TOLERANCE = 1e-4  # of the heatmap range: folding rounds to a few 1e-7; an INT8 step is 4e-3


def verify_onnx(
    model: onnx.ModelProto,
    net: HourglassNet,
    input: InputSpec,
    images: np.ndarray,
    num_stacks: int | None = None,
) -> float:
    """Compare a graph in ONNX Runtime with its network in PyTorch.

    Args:
        model: From `onnx_from_network`.
        net: The network that it came from.
        input: The network's input.
        images: (N, C, H, W) float32, normalised as `input` says; a few photographs.
        num_stacks: Stacks that the graph keeps; None: all.

    Returns:
        Largest difference of any heatmap value, as part of the range (largest minus smallest) of PyTorch's heatmaps.

    Raises:
        ShapeError: The images do not fit the input.
        ConfigError: Input or number of stacks do not fit the network.
        ExportError: The difference is above `TOLERANCE`, heatmaps are not finite or all the same, or ONNX Runtime
            refuses the graph.
    """
    check_fits(net, input, num_stacks)
    wanted = (input.channels, *input.hw)
    if images.shape[1:] != wanted or not len(images) or images.dtype != np.float32:
        shape = ", ".join(map(str, wanted))
        raise ShapeError(f"images must be (N, {shape}) float32, but got shape {images.shape} {images.dtype}")
    expected = _run_torch(net, images, num_stacks)
    found = _run_onnx(model, images)
    if found.shape != expected.shape:
        raise ExportError(f"the graph gives heatmaps {found.shape}, but the network {expected.shape}; export it again")
    spread = float(np.ptp(expected))
    if not np.isfinite(spread) or spread == 0:
        raise ExportError(f"the network's heatmaps range over {spread}, so nothing can be compared; check its weights")
    difference = float(np.abs(found - expected).max()) / spread
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the graph must give PyTorch's heatmaps within {TOLERANCE:g} of their range, "
            f"but differs by {difference:.3g}; report this as a bug of hgedge"
        )
    return difference


def _run_torch(net: HourglassNet, images: np.ndarray, num_stacks: int | None) -> np.ndarray:
    stack = (num_stacks or net.config.num_stacks) - 1
    with torch.inference_mode():
        heatmaps: np.ndarray = inference_copy(net)(torch.from_numpy(images))[:, stack].numpy()
    return heatmaps


def _run_onnx(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        heatmaps: np.ndarray = session.run(["heatmaps"], {INPUT: images})[0]
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ExportError(f"ONNX Runtime cannot run the graph: {error}") from error
    return heatmaps
