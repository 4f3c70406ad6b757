"""How big a graph is: operators, convolutions, parameters, and multiply-accumulates a crop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from hgedge.errors import ExportError
from hgedge.export.layers import CONVOLUTIONS, Layer, layers


@dataclass(frozen=True)
class Share:
    """What one precision has of a graph.

    Attributes:
        convolutions: Transposed ones too.
        activations: Type of what convolutions in INT8 read, "u8" or "s8" -> how many do; empty for other precisions.
        gmacs: Multiply-accumulates of its convolutions for one crop, in 1e9.
        parameters: Numbers in the weights of all its layers.
        weight_bytes: That these take in the file.
    """

    convolutions: int
    activations: dict[str, int]
    gmacs: float
    parameters: int
    weight_bytes: int


@dataclass(frozen=True)
class Summary:
    """A graph in numbers.

    Attributes:
        opset: Of ONNX's own operators.
        operators: ONNX operator -> nodes, the most frequent first.
        precisions: Precision -> its share of the graph, the largest first.
    """

    opset: int
    operators: dict[str, int]
    precisions: dict[str, Share]


def num_convs(model: onnx.ModelProto) -> int:
    """Convolutions in the graph."""
    return sum(node.op_type == "Conv" for node in model.graph.node)


def gmacs(model: onnx.ModelProto) -> float:
    """Multiply-accumulates of all convolutions for one crop, in 1e9.

    Args:
        model: A graph with static height and width.

    Raises:
        ExportError: The size of what a convolution reads or makes cannot be told.
    """
    return sum(layer.macs for layer in layers(model)) / 1e9


def summary(model: onnx.ModelProto, found: Iterable[Layer]) -> Summary:
    """Count a graph.

    Args:
        model: The graph.
        found: Its layers, of `hgedge.export.layers`.
    """
    by_precision: dict[str, list[Layer]] = {}
    for layer in found:
        by_precision.setdefault(layer.precision, []).append(layer)
    shares = {precision: _share(group) for precision, group in by_precision.items()}
    largest = sorted(shares.items(), key=lambda item: (-item[1].gmacs, -item[1].parameters))
    return Summary(
        opset=next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0),
        operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        precisions=dict(largest),
    )


def read_summary(path: Path) -> tuple[Summary, list[Layer]]:
    """Count the graph of an ONNX file; its layers too.

    Raises:
        ExportError: It is no ONNX file, or has sizes that are not fixed.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # a type of its own that protobuf has
        raise ExportError(f"{path} is not an ONNX file ({error}); make the bundle or file again") from error
    found = layers(model)
    return summary(model, found), found


def _share(group: list[Layer]) -> Share:
    return Share(
        convolutions=sum(layer.op in CONVOLUTIONS for layer in group),
        activations=dict(Counter(layer.activation for layer in group if layer.activation is not None)),
        gmacs=sum(layer.macs for layer in group) / 1e9,
        parameters=sum(layer.parameters for layer in group),
        weight_bytes=sum(layer.weight_bytes for layer in group),
    )
