"""Name every tensor and node after the module that makes it.

    Conv, BatchNormalization    the module path in their weight's name: `hgs.0.up.0.conv1`
    Add                         the module that it belongs to, and `.add`: `hgs.0.up.0.add`, `hgs.0.add`
    Relu, MaxPool, Resize       their input's name and `.relu`, `.pool`, `.up`; others: their type in lower case

The module of an Add is what the names of its own inputs share (inputs which nothing else reads: the last convolution of
a residual and its skip, both branches of an hourglass). Where there is one such input, it is the module that this one
lies in: `conv3` gives its residual; but an item of a list, such as `merge_features.0`, is its own. Where names share
nothing, the last in alphabetical order stands for all.

Weights give the names, so they must be called after their modules. The names do not depend on the order of inputs
or nodes, nor on what tensors were called before. Inputs and outputs of the graph keep their names.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import onnx
from onnx import NodeProto

from hgedge.export.rewrites.graph import Graph

NAMING_VERSION = 1  # counts changes of the rule: range tables made under another one do not fit
SUFFIXES = {"Relu": "relu", "MaxPool": "pool", "Resize": "up"}
PARAMETERS = {
    "Conv": ("", "weight", "bias"),
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
    "Resize": ("", "roi", "scales", "sizes"),
}

VERSION_KEY = "naming_version"  # in the model's metadata


class Names(NamedTuple):
    """New names: of nodes by their first output, of tensors by their old name."""

    nodes: dict[str, str]
    tensors: dict[str, str]


def pattern(graph: Graph) -> Iterator[Names]:
    """The whole graph, once."""
    ends = {item.name: item.name for item in (*graph.proto.input, *graph.proto.output)}
    names = {name: name for name in ends if name not in graph.makers and name not in graph.constants}
    for node in graph.proto.node:  # in topological order
        name = _node_name(graph, node, names)
        names.update({output: f"{name}.{index}" if index else name for index, output in enumerate(node.output)})
    nodes = {node.output[0]: names[node.output[0]] for node in graph.proto.node}
    yield Names(nodes, names | _constant_names(graph, nodes) | ends)


def check(graph: Graph, names: Names) -> str | None:
    """No two tensors, and no two nodes, get the same name."""
    for what, new in (("nodes", names.nodes), ("tensors", names.tensors)):
        twice = sorted(name for name, count in Counter(new.values()).items() if count > 1)
        if twice:
            return f"the graph: several {what} would be called {', '.join(twice[:3])}"
    return None


def rewrite(graph: Graph, names: Names) -> None:
    """Rename tensors and nodes; drop what the exporter noted about them under the old names."""
    for node in graph.proto.node:
        node.name = names.nodes[node.output[0]]
        node.input[:] = [names.tensors.get(name, name) for name in node.input]
        node.output[:] = [names.tensors[name] for name in node.output]
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for constant in graph.proto.initializer:
        constant.name = names.tensors[constant.name]
    del graph.proto.value_info[:]
    graph.outputs = {item.name for item in graph.proto.output}
    notes = {item.key: item.value for item in graph.model.metadata_props}
    onnx.helper.set_model_props(graph.model, {**notes, VERSION_KEY: str(NAMING_VERSION)})


def _node_name(graph: Graph, node: NodeProto, names: Mapping[str, str]) -> str:
    if node.op_type in ("Conv", "BatchNormalization"):
        return str(node.input[1]).removesuffix(".weight")
    made = [name for name in node.input if name in names]
    if node.op_type == "Add" and len(made) == 2:
        own = [name for name in made if len(graph.readers[name]) == 1] or made
        return f"{_module(sorted(names[name] for name in own))}.add"
    first = min((names[name] for name in made), default="constant")
    return f"{first}.{SUFFIXES.get(node.op_type, node.op_type.lower())}"


def _module(parts: list[str]) -> str:
    """The module that makes tensors with these (sorted) names a sum."""
    if len(parts) > 1:
        shared = zip(*(part.split(".") for part in parts), strict=False)
        path = [names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, shared)]
        return ".".join(path) or parts[-1]
    module, _, last = parts[0].rpartition(".")
    return module if module and not last.isdecimal() else parts[0]


def _constant_names(graph: Graph, nodes: Mapping[str, str]) -> dict[str, str]:
    """A constant is called after the (alphabetically first) node that reads it, and its part there."""
    names: dict[str, str] = {}
    for node in graph.proto.node:
        parts = PARAMETERS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name in graph.constants:
                part = parts[index] if index < len(parts) else str(index)
                new = f"{nodes[node.output[0]]}.{part}"
                names[name] = min(new, names.get(name, new))
    return names
