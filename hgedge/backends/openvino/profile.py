"""What each layer of an OpenVINO engine takes, from the engine's own counters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from hgedge.backends.openvino.session import PRECISION_HINTS

WARMUP = 10


@dataclass(frozen=True)
class Layer:
    """A layer as it is executed.

    Attributes:
        name: Of the last operation that was fused into it.
        kind: Such as "Convolution"; "Subgraph" is a fused chain of element-wise operations.
        kernel: OpenVINO's name of the code that runs, with the type that it computes in.
        ms: Median milliseconds of a run.
    """

    name: str
    kind: str
    kernel: str
    ms: float


def profile(model: ov.Model, precision: str, runs: int = 50) -> list[Layer]:
    """Time every layer that is executed, in the order of execution.

    Counters cost time themselves: the sum may be more than an engine without them takes.

    Args:
        model: With one input of fixed shape; what it holds is random.
        precision: Of the engine, as a manifest tells it.
        runs: Samples of each layer.
    """
    hints = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision], "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
    element = model.input().get_element_type().to_dtype()
    random = np.random.default_rng(0).integers(0, 256, list(model.input().shape))
    request.set_input_tensor(ov.Tensor(random.astype(element)))
    for _ in range(WARMUP):
        request.infer()
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(runs):
        request.infer()
        for layer in request.profiling_info:
            if layer.status == layer.Status.EXECUTED:
                key = (layer.node_name, layer.node_type, layer.exec_type)
                seconds.setdefault(key, []).append(layer.real_time.total_seconds())
    return [Layer(*key, float(1e3 * np.median(taken))) for key, taken in seconds.items()]
