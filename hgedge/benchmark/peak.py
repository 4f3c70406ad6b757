"""The physical limit that a share of the peak is told against: the most that this machine gives a convolution.

Measured on OpenVINO with stacks of 3x3 convolutions of several shapes, as many channels out as in; the best counts.
What a run takes beside its convolutions is the same for a low stack and a high one, and cancels out:

    GMAC/s = more layers x channels^2 x 9 x height x width / (fastest run of the high stack - fastest of the low one)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgedge.errors import BackendUnavailable, ConfigError

SHAPES = ((64, 96), (128, 64), (256, 64), (256, 32), (512, 32))  # channels, height and width
LOW, HIGH, WARMUP = 2, 8, 3  # layers, and runs that do not count
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
READ = {"fp32": ("f32",), "bf16": ("bf16",), "int8": ("i8", "u8")}  # what convolutions of a precision read
HIGHEST = 2.55  # value of an activation of 255


@dataclass(frozen=True)
class Peak:
    """The fastest convolutions that were found.

    Attributes:
        precision: "fp32", "bf16" or "int8".
        gmac_per_s: Multiply-accumulates a second, in 1e9, of all cores.
        channels: Of the shape that reached it.
        size: Height and width of that shape.
    """

    precision: str
    gmac_per_s: float
    channels: int
    size: int


def convolution_peak(precision: str, runs: int = 10, shapes: tuple[tuple[int, int], ...] = SHAPES) -> Peak:
    """Measure the peak of a precision, the best run of the best shape.

    Args:
        precision: "fp32", "bf16" or "int8".
        runs: Of each shape.
        shapes: Channels, and height and width, of each.

    Raises:
        ConfigError: There is no such precision.
        BackendUnavailable: OpenVINO is not installed, or computes in another precision here.
    """
    if precision not in HINTS:
        raise ConfigError(f"the peak is of one of {', '.join(HINTS)}, but got {precision!r}")
    return max((_peak(precision, runs, *shape) for shape in shapes), key=lambda peak: peak.gmac_per_s)


def _peak(precision: str, runs: int, channels: int, size: int) -> Peak:
    requests = [_compiled(precision, channels, size, layers) for layers in (LOW, HIGH)]
    seconds = np.empty((WARMUP + runs, 2))
    for run, stack in np.ndindex(seconds.shape):
        started = time.perf_counter()
        requests[stack].infer()
        seconds[run, stack] = time.perf_counter() - started
    low, high = seconds[WARMUP:].min(axis=0)
    macs = (HIGH - LOW) * channels**2 * 9 * size**2
    return Peak(precision, round(float(macs / (high - low)) / 1e9, 1), channels, size)


def _compiled(precision: str, channels: int, size: int, layers: int) -> Any:
    """A request that computes a stack, on an input of its own."""
    ov = _openvino()
    hints = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(_stack(precision, channels, size, layers), "CPU", hints)
    for node in compiled.get_runtime_model().get_ordered_ops():
        read = node.get_input_element_type(0).get_type_name() if node.get_input_size() else ""
        if node.get_rt_info()["layerType"].astype(str) == "Convolution" and read not in READ[precision]:
            raise BackendUnavailable(f"OpenVINO does not compute in {precision} on this machine, but in {read}")
    request = compiled.create_infer_request()
    random = np.random.default_rng(0).random((1, channels, size, size))
    request.set_input_tensor(ov.Tensor(random.astype(np.float32)))
    return request


def _stack(precision: str, channels: int, size: int, layers: int) -> Any:
    """Convolutions one after the other, each with a ReLU; in INT8 between quantised values."""
    ov, ops = _openvino(), _openvino().opset13
    random, spread = np.random.default_rng(0), (2 / (9 * channels)) ** 0.5  # keeps the size of what comes through
    image = ops.parameter([1, channels, size, size], np.float32)
    x = _quantised(image) if precision == "int8" else image
    for _ in range(layers):
        if precision == "int8":
            levels = random.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
            step = np.full((channels, 1, 1, 1), spread * 3**0.5 / 127, np.float32)
            weight = ops.multiply(ops.convert(ops.constant(levels), "f32"), ops.constant(step))
        else:
            values = random.normal(0, spread, (channels, channels, 3, 3))
            weight = ops.constant(values.astype(np.float32))
        x = ops.relu(ops.convolution(x, weight, [1, 1], [1, 1], [1, 1], [1, 1]))
        x = _quantised(x) if precision == "int8" else x
    return ov.Model([ops.result(x)], [image], "peak")


def _quantised(x: Any) -> Any:
    low, high = np.float32(0), np.float32(HIGHEST)
    return _openvino().opset13.fake_quantize(x, low, high, low, high, 256)


def _openvino() -> Any:
    try:
        import openvino
        import openvino.opset13
    except ImportError as error:
        raise BackendUnavailable(
            "the peak is measured with OpenVINO; install it with: pip install 'hgedge[openvino]'"
        ) from error
    return openvino
