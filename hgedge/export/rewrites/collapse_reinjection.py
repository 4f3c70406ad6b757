"""The re-injection between two stacks becomes one 1x1 convolution.

    x + (Wf f + bf) + (Wo (Wh f + bh) + bo)   =   x + (Wf + Wo Wh) f + (bf + bo + Wo bh)

f: features of a stack, Wh: its prediction head, Wf and Wo: `merge_features` and `merge_preds`, x: what entered it.
All of it is linear, so the heatmaps in between need not exist, unless they are an output. Calculated in float64. The
convolution that remains is that of Wf, with its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

from onnx import NodeProto

from hgedge.export.rewrites.graph import Graph, attribute, label


class Match(NamedTuple):
    """The two additions, the tensor x, and the three convolutions."""

    total: NodeProto
    partial: NodeProto
    trunk: str
    merge_features: NodeProto
    head: NodeProto
    merge_preds: NodeProto


def pattern(graph: Graph) -> Iterator[Match]:
    """Every sum of three in which one term is a Conv and another a Conv of a Conv, both of the same tensor."""
    for total in graph.proto.node:
        if total.op_type != "Add":
            continue
        for last, inner in permutations(total.input):
            partial = graph.maker(inner, "Add")
            if partial is not None:
                yield from _in_sum(graph, total, partial, (last, *partial.input))


def _in_sum(graph: Graph, total: NodeProto, partial: NodeProto, terms: tuple[str, ...]) -> Iterator[Match]:
    for trunk, first, second in permutations(terms):
        features, preds = graph.maker(first, "Conv"), graph.maker(second, "Conv")
        head = graph.maker(preds.input[0], "Conv") if preds is not None else None
        if features is not None and preds is not None and head is not None and head.input[0] == features.input[0]:
            yield Match(total, partial, trunk, features, head, preds)


def check(graph: Graph, match: Match) -> str | None:
    """Nobody else reads what vanishes, and the convolutions are plain 1x1 with parameters of their own."""
    if match.head.output[0] in graph.outputs:
        return f"{label(match.total)}: the heatmaps of {label(match.head)} are an output of the graph"
    for node in (match.partial, match.merge_features, match.head, match.merge_preds):
        if not graph.read_once(node.output[0]):
            return f"{label(match.total)}: {label(node)} has other readers"
    for conv in (match.merge_features, match.head, match.merge_preds):
        reason = graph.obstacle(conv)
        if reason is not None:
            return reason
        if not _is_plain(graph, conv):
            return f"{label(match.total)}: {label(conv)} is not a plain 1x1 convolution"
    return None


def _is_plain(graph: Graph, conv: NodeProto) -> bool:
    """1x1, one group, every pixel once."""
    unpadded = not any(attribute(conv, "pads", ())) and attribute(conv, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    every_pixel = set(attribute(conv, "strides", (1,))) == {1}
    one_group = attribute(conv, "group", 1) == 1
    return tuple(graph.constants[conv.input[1]].dims[2:]) == (1, 1) and unpadded and every_pixel and one_group


def rewrite(graph: Graph, match: Match) -> None:
    """Put the sum of both ways into `merge_features`; head and `merge_preds` fall dead."""
    weight_f, bias_f = graph.conv(match.merge_features)
    weight_h, bias_h = graph.conv(match.head)
    weight_o, bias_o = graph.conv(match.merge_preds)
    through = weight_o[:, :, 0, 0] @ weight_h[:, :, 0, 0]
    bias = bias_f + bias_o + weight_o[:, :, 0, 0] @ bias_h
    graph.set_conv(match.merge_features, weight_f + through[:, :, None, None], bias)
    match.total.input[:] = [match.trunk, match.merge_features.output[0]]
