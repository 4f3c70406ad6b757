"""Time the layers of an OpenVINO engine by its own performance counters.

A counter tells the mean of all runs since the engine was compiled, the first and slow one too, in whole microseconds,
rounded down. So the engine is loaded several times; of each, what it tells of a few runs is taken out of what it tells
of more, which leaves the mean of the others, at most 2 microseconds off. Medians are then over these means.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from hgedge.backends.base import TimedLayer
from hgedge.backends.openvino.session import PRECISION_HINTS
from hgedge.bundle import file_of
from hgedge.errors import EngineMismatch
from hgedge.progress import Progress, no_progress
from hgedge.spec import Manifest

BLOCKS, SETTLING = 5, 3  # times that an engine is loaded; runs of each that are left out
ENDS = ("Parameter", "Result", "Constant")
FUSED = "undef"  # how what is part of another layer is executed
BIASLESS = "/WithoutBiases"  # what OpenVINO calls a convolution that it parts from its bias


def profile(
    folder: Path, manifest: Manifest, crops: np.ndarray, runs: int, progress: Progress = no_progress
) -> list[TimedLayer]:
    """Time every layer of an engine; see `hgedge.backends.base`.

    Raises:
        EngineMismatch: OpenVINO cannot load it.
    """
    path = file_of(folder, manifest, "engine.xml")
    try:
        model = ov.Core().read_model(path, file_of(folder, manifest, "engine.bin"))
        model.reshape(list(crops.shape))
        return profile_model(model, manifest.precision, crops, runs, progress)
    except RuntimeError as error:
        raise EngineMismatch(f"OpenVINO cannot load {path}: {error}") from error


def profile_model(
    model: ov.Model, precision: str, given: np.ndarray, runs: int, progress: Progress = no_progress
) -> list[TimedLayer]:
    """Time every layer of a model, in the order of execution.

    Args:
        model: With one input, of fixed shape.
        precision: Of the engine, as a manifest tells it.
        given: The input.
        runs: In all blocks together; rounded up to a multiple of their number.
        progress: Is told of every run.
    """
    core = ov.Core()
    hints = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision], "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    blob = core.compile_model(model, "CPU", hints).export_model()
    each = SETTLING + -(-runs // BLOCKS)
    means: list[list[float]] = []
    for block in range(BLOCKS):
        compiled = core.import_model(blob, "CPU", hints)
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(np.ascontiguousarray(given)))
        for done in range(each):
            if done == SETTLING:
                before = [layer.real_time.total_seconds() for layer in _executed(request)]
            request.infer()
            progress("profile", each * block + done + 1, each * BLOCKS)
        after = [layer.real_time.total_seconds() for layer in _executed(request)]
        counted = [(each * late - SETTLING * early) / (each - SETTLING) for early, late in zip(before, after)]
        means.append([1e3 * max(mean, 0.0) for mean in counted])
    nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ordered_ops()}
    layers = _executed(request)  # in each load the same ones, though some are called otherwise
    return [_layer(layer, nodes[layer.node_name], taken) for layer, *taken in zip(layers, *means)]


def _executed(request: ov.InferRequest) -> list[ov.ProfilingInfo]:
    """Counters of all layers that are executed, though one that takes less than a microsecond says that it was not."""
    return [
        layer
        for layer in request.profiling_info
        if layer.exec_type != FUSED and layer.node_type not in ENDS and layer.status != layer.Status.OPTIMIZED_OUT
    ]


def _layer(counter: ov.ProfilingInfo, node: ov.Node, samples: list[float]) -> TimedLayer:
    """A node that is executed. Its type is that of what it reads: its own says what its weights are stored as."""
    precision = str(node.get_input_element_type(0).get_type_name()) if node.get_input_size() else "?"
    info = node.get_rt_info()
    fused = info["originalLayersNames"].astype(str) if "originalLayersNames" in info else ""
    nodes = dict.fromkeys(each.removesuffix(BIASLESS) for each in fused.split(",") if each)
    name = counter.node_name.removesuffix(BIASLESS)
    return TimedLayer(name, counter.node_type, precision, tuple(samples), tuple(nodes))
