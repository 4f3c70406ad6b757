"""Transpose -> Transpose that undo each other fall away, and so does a Transpose that moves nothing.

    x -> Transpose(p) -> Transpose(q),   p[q[i]] = i        becomes        x

Readers of the second read x instead. Where the second makes an output of the graph, whatever makes x makes that output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from onnx import NodeProto

from hgedge.export.rewrites.graph import Graph, attribute, label


class Match(NamedTuple):
    """A tensor, and the Transpose that gives it back as it was."""

    tensor: str
    last: NodeProto


def pattern(graph: Graph) -> Iterator[Match]:
    """Every Transpose that brings a tensor back to the order that it had one or two nodes before."""
    for node in graph.proto.node:
        if node.op_type != "Transpose":
            continue
        order = list(attribute(node, "perm", ()))
        first = graph.maker(node.input[0], "Transpose")
        before = list(attribute(first, "perm", ())) if first is not None else []
        if order and order == sorted(order):
            yield Match(node.input[0], node)
        elif first is not None and order and len(before) == len(order) and [before[i] for i in order] == sorted(order):
            yield Match(first.input[0], node)


def check(graph: Graph, match: Match) -> str | None:
    """An output of the graph can be made by the node before, unless that makes another output, or is none."""
    tensor, last = match
    if last.output[0] in graph.outputs and (tensor in graph.outputs or tensor not in graph.makers):
        return f"{label(last)}: it alone makes the output {last.output[0]} of {tensor}"
    return None


def rewrite(graph: Graph, match: Match) -> None:
    """Let everybody read the tensor; the last Transpose falls dead."""
    tensor, last = match
    gone = last.output[0]
    renamed = {tensor: gone} if gone in graph.outputs else {gone: tensor}
    last.output[0] = f"{gone}.cancelled"
    for node in graph.proto.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node is not last:
            node.output[:] = [renamed.get(name, name) for name in node.output]
