"""Conv -> BatchNormalization becomes Conv.

    conv:  y = W x + b
    norm:  z = gamma (y - mean) / sqrt(var + epsilon) + beta
    both:  z = (s W) x + s (b - mean) + beta,   s = gamma / sqrt(var + epsilon), one a channel

Calculated in float64. The convolution keeps the names of its parameters. A BatchNormalization after anything else
stays: a pre-activation residual begins with one, which reads a sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from onnx import NodeProto

from hgedge.export.rewrites.graph import Graph, attribute, label

EPSILON = 1e-5  # ONNX's default


class Match(NamedTuple):
    """A convolution and the normalisation that reads it."""

    conv: NodeProto
    norm: NodeProto


def pattern(graph: Graph) -> Iterator[Match]:
    """Every BatchNormalization of a Conv."""
    for node in graph.proto.node:
        conv = graph.maker(node.input[0], "Conv") if node.op_type == "BatchNormalization" else None
        if conv is not None:
            yield Match(conv, node)


def check(graph: Graph, match: Match) -> str | None:
    """The convolution has no other reader, and the parameters are constants which no other node uses."""
    conv, norm = match
    if not graph.read_once(conv.output[0]):
        return f"{label(norm)}: {label(conv)} has other readers than it"
    if attribute(norm, "training_mode", 0):
        return f"{label(norm)}: it is in training mode"
    return graph.obstacle(conv) or graph.obstacle(norm)


def rewrite(graph: Graph, match: Match) -> None:
    """Scale the weight, move the bias, and let the convolution make what the normalisation made."""
    conv, norm = match
    gamma, beta, mean, variance = (graph.array(name) for name in norm.input[1:5])
    scale = gamma / np.sqrt(variance + attribute(norm, "epsilon", EPSILON))
    weight, bias = graph.conv(conv)
    graph.set_conv(conv, weight * scale[:, None, None, None], (bias - mean) * scale + beta)
    conv.output[0], norm.output[0] = norm.output[0], f"{norm.output[0]}.folded"
