"""The ends of an ONNX file that hgedge did not write: which input takes pictures, which output gives heatmaps, how."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from hgedge.errors import BackendUnavailable, ConfigError, ExportError

log = logging.getLogger(__name__)

LAYOUTS = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}  # where N, C, H, W stand
STACKED = "NSCHW"  # the maps of all stacks in one output, the last of which counts
FLOATS: dict[int, Any] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
CHANNELS = (1, 3)


@dataclass(frozen=True)
class ImageInput:
    """The input that takes pictures.

    Attributes:
        name: As the file calls it.
        layout: "NCHW" or "NHWC".
        channels: 1 or 3.
        hw: Height and width in pixels.
        batch: Fixed size of a batch; 0: free.
        elem_type: TensorProto.FLOAT or FLOAT16.
        sized_by_file: Height and width are the file's, not asked for.
    """

    name: str
    layout: str
    channels: int
    hw: tuple[int, int]
    batch: int
    elem_type: int
    sized_by_file: bool

    def array(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) float32 in the file's own type and layout."""
        order = np.argsort(LAYOUTS[self.layout])
        return np.ascontiguousarray(images.transpose(order).astype(FLOATS[self.elem_type]))


@dataclass(frozen=True)
class HeatmapOutput:
    """The output that gives heatmaps.

    Attributes:
        name: As the file calls it.
        layout: "NCHW", "NHWC" or "NSCHW".
        channels: Keypoints.
        hw: Height and width in cells.
        num_stacks: Stacks: in this output, or outputs of its shape.
    """

    name: str
    layout: str
    channels: int
    hw: tuple[int, int]
    num_stacks: int

    def maps(self, made: np.ndarray) -> np.ndarray:
        """(N, K, h, w) float32 of the last stack, out of what the file's output gives."""
        last = made[:, -1] if self.layout == STACKED else made.transpose(LAYOUTS[self.layout])
        return last.astype(np.float32)


def image_input(model: onnx.ModelProto, input_hw: tuple[int, int] | None, where: Path) -> ImageInput:
    """Find the input.

    Args:
        model: From `read_onnx`.
        input_hw: Height and width that were asked for, or None.
        where: The file, for messages.

    Raises:
        ExportError: There is not one input of a known type, layout and number of channels.
        ConfigError: Height and width are free and were not asked for, or fixed and others were asked for.
    """
    if len(model.graph.input) != 1:
        names = ", ".join(item.name for item in model.graph.input) or "none"
        raise ExportError(f"{where} must have one input, the picture, but has {len(model.graph.input)}: {names}")
    (end,) = model.graph.input
    kind = end.type.tensor_type.elem_type
    if kind not in FLOATS:
        found = helper.tensor_dtype_to_string(kind).removeprefix("TensorProto.")
        raise ExportError(f"{where}: input {end.name} must take floats, but takes {found}; export it without the Cast")
    dims = [dim.dim_value for dim in end.type.tensor_type.shape.dim]
    shape = shape_text(end)
    if len(dims) != 4:
        raise ExportError(f"{where}: input {end.name} must be a batch of pictures, four axes, but is {shape}")
    fitting = [layout for layout, axes in LAYOUTS.items() if dims[axes[1]] in CHANNELS]
    if len(fitting) != 1:
        what = "could be NCHW as well as NHWC" if fitting else "has 1 or 3 channels neither in axis 1 nor in the last"
        raise ExportError(f"{where}: input {end.name} {shape} {what}; export it with 1 or 3 channels in one of them")
    batch, channels, *size = (dims[axis] for axis in LAYOUTS[fitting[0]])
    fixed = all(size)
    if not fixed and input_hw is None:
        raise ConfigError(f"{where}: input {end.name} {shape} has no fixed height and width; say them: --input HxW")
    if input_hw is not None and any(own not in (0, asked) for own, asked in zip(size, input_hw)):
        raise ConfigError(
            f"{where}: input {end.name} {shape} is fixed, but --input asks for {input_hw[0]}x{input_hw[1]}; "
            "leave --input out, or export it with free height and width"
        )
    hw = (size[0], size[1]) if fixed or input_hw is None else input_hw
    return ImageInput(end.name, fitting[0], channels, hw, batch, kind, fixed)


def heatmap_output(
    shapes: Mapping[str, tuple[int, ...]],
    image: ImageInput,
    asked: str | None,
    num_keypoints: int | None,
    where: Path,
) -> HeatmapOutput:
    """Find the output: the one asked for, or the last of those that look like heatmaps, and say which.

    Args:
        shapes: Shape of every output, in the file's order.
        image: The input.
        asked: An output's name, or None.
        num_keypoints: Heatmaps that there must be, where it is known.
        where: The file, for messages.

    Raises:
        ConfigError: No output has the name that was asked for, or outputs of several shapes look like heatmaps.
        ExportError: None looks like heatmaps of this input.
    """
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if asked is not None and asked not in shapes:
        raise ConfigError(f"{where} has no output {asked!r}; --heatmaps must be one of: {listed}")
    names = list(shapes) if asked is None else [asked]
    read = {name: _as_heatmaps(shapes[name], image, num_keypoints) for name in names}
    found = {name: reading for name, reading in read.items() if reading is not None}
    if not found:
        count = "heatmaps" if num_keypoints is None else f"{num_keypoints} heatmaps, one a keypoint"
        raise ExportError(
            f"{where} must have an output of {count}, whose height and width are those of the input "
            f"({image.hw[0]}x{image.hw[1]}) divided by the same whole number, but has: {listed}"
        )
    if len(set(found.values())) > 1:
        raise ConfigError(
            f"{where} has several outputs that look like heatmaps; name one: --heatmaps {'|'.join(found)} ({listed})"
        )
    name = list(found)[-1]
    layout, channels, hw = found[name]
    if layout == STACKED:
        log.info("heatmaps are output %s %s, the last of its %d stacks", name, shapes[name], shapes[name][1])
        return HeatmapOutput(name, layout, channels, hw, shapes[name][1])
    alike = sum(_as_heatmaps(shape, image, channels) == found[name] for shape in shapes.values())
    log.info(
        "heatmaps are output %s %s, %s%s", name, shapes[name], layout, f", the last of {alike}" if alike > 1 else ""
    )
    return HeatmapOutput(name, layout, channels, hw, alike)


def _as_heatmaps(
    shape: tuple[int, ...], image: ImageInput, num_keypoints: int | None
) -> tuple[str, int, tuple[int, int]] | None:
    """Layout (the input's goes first), channels, height and width of heatmaps; None where the shape is another."""
    if len(shape) == len(STACKED):
        found = _as_heatmaps((shape[0], *shape[2:]), image, num_keypoints)
        return (STACKED, *found[1:]) if found is not None and found[0] == "NCHW" else None
    for layout in sorted(LAYOUTS, key=lambda layout: layout != image.layout):
        if len(shape) != len(LAYOUTS[layout]):
            return None
        _, channels, height, width = (shape[axis] for axis in LAYOUTS[layout])
        strides = {(full // size, full % size) for full, size in zip(image.hw, (height, width)) if size}
        if len(strides) == 1 and strides.pop()[1] == 0 and num_keypoints in (None, channels):
            return layout, channels, (height, width)
    return None


def run_onnx(model: Path | bytes, feeds: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Run a model in ONNX Runtime: every output by its name.

    Raises:
        BackendUnavailable: ONNX Runtime is not installed.
        ExportError: It cannot run the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            "an ONNX model is checked with ONNX Runtime, which is not installed: pip install 'hgedge[onnxruntime]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 4
    try:
        content = str(model) if isinstance(model, Path) else model
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, dict(feeds))
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ExportError(f"ONNX Runtime cannot run {where}: {' '.join(str(error).split())}") from error
    return {end.name: values for end, values in zip(session.get_outputs(), outputs)}


def shape_text(end: onnx.ValueInfoProto) -> str:
    """The shape of an end, for messages: (N, 3, 64, ?)."""
    dims = end.type.tensor_type.shape.dim
    return f"({', '.join(str(dim.dim_value or dim.dim_param or '?') for dim in dims)})"
