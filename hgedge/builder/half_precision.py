"""What a build does for FP16: layers that stay FP32, and what FP16 arithmetic would give where there is none."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgedge import backends
from hgedge.builder.calibration import CalibrationSet, CalibrationTable
from hgedge.builder.network import Network
from hgedge.errors import BackendUnavailable
from hgedge.progress import Progress
from hgedge.runtime.golden import Golden, agreement, run_one_by_one
from hgedge.runtime.preprocess import normalise
from hgedge.spec import Manifest

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)


def holds_half(precision: str, backend: str | None) -> bool:
    """Whether an engine computes in FP16, or engines may that are built from a portable half."""
    if precision == "int8" and backend is not None:
        return precision in getattr(backends.builder(backend), "HALF", ())
    return precision in ("fp16", "int8")


def kept_in_float(
    graph: onnx.ModelProto,
    rendered_from: onnx.ModelProto,
    network: Network,
    golden: Golden,
    source: CalibrationSet | CalibrationTable | None,
    progress: Progress,
) -> tuple[str, ...]:
    """The layers that stay FP32 where the rest becomes FP16, each by the tensor that it makes.

    Those that a bundle knows of are among them, as it may have seen more pictures.

    Args:
        graph: The FP32 graph, which pictures are run through.
        rendered_from: What becomes FP16: the same, or with Q/DQ pairs.
        network: What is being built.
        golden: Its golden inputs: the pictures, where there is no calibration set.
        source: Where the ranges of the build come from.
        progress: Told about pictures done.

    Raises:
        QuantizationError: A weight or a tensor is not finite.
        BackendUnavailable: There is a calibration set, but no ONNX Runtime.
    """
    from hgedge.quantization.half_range import LIMIT, layers_beyond_half

    known = network.kept_fp32
    found: dict[str, float] = {}
    try:
        found = _peaks(graph, network, golden, source, progress)
    except BackendUnavailable as error:
        if isinstance(source, CalibrationSet):
            raise
        if known is None:
            log.warning("only weights are checked for FP16's range, not activations: %s", error)
    beyond = layers_beyond_half(rendered_from, found)
    for name, value in beyond.items():
        log.warning("%s stays FP32: it holds values of up to %.3g, and FP16 is trusted to %.0f", name, value, LIMIT)
    kept = {*beyond, *(known or ())}
    return tuple(node.output[0] for node in rendered_from.graph.node if node.output[0] in kept)


def _peaks(
    graph: onnx.ModelProto,
    network: Network,
    golden: Golden,
    source: CalibrationSet | CalibrationTable | None,
    progress: Progress,
) -> dict[str, float]:
    """The peak of each tensor on the calibration set or the golden inputs, and on black and white.

    A few pictures excite a trained network far more than most; dark ones do, and flat ones like the worst of them.
    On the shipped models (default, face68) and a quarter of their data sets' val, tensors reach 68 and 5.3 times what
    the golden inputs show, 2.2 and 2.3 times what they show with black and white.
    """
    from hgedge.quantization.half_range import peaks

    flat = normalise(np.stack([np.full_like(golden.crops[0], value) for value in (0, 255)]), network.input)
    if not isinstance(source, CalibrationSet):
        return peaks(graph, (*normalise(golden.crops, network.input), *flat))
    from hgedge.builder.pictures import Pictures

    pictures = Pictures(source, network.input, progress)
    found = peaks(graph, itertools.chain(pictures, flat))
    pictures.check_enough()
    return found


def simulated_agreement(folder: Path, manifest: Manifest, golden: Golden) -> dict[str, float] | None:
    """How near FP16 arithmetic would come to FP32's keypoints on the golden inputs; None without ONNX Runtime.

    Raises:
        ExportError: FP16 gives heatmaps that are not finite.
    """
    try:
        session = backends.simulator().load(folder, manifest)
    except BackendUnavailable as error:
        log.info("FP16 arithmetic is not simulated: %s", error)
        return None
    heatmaps = run_one_by_one(session, golden.crops, manifest.precision)
    session.close()
    return agreement(dataclasses.replace(golden, engine_heatmaps=heatmaps), manifest.decode)
