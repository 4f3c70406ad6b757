"""Groups of convolutions that become INT8, or stay float, together.

A group is what lies between two additions: the convolutions whose results come to one Add by a single path, such as a
residual block, called as that Add without its `.add`. A convolution that leads to no Add, or whose result is read in
two places (the stem), is a group of its own, called as what it makes. Every other node is in a group too: in that of
the convolution or Add that it alone leads to, else of what made its input. So nothing reads INT8 where all groups are
float. The head, which is float in any case, is in none.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import onnx

from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.placement import head_indices


def groups(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """The groups of a float graph.

    Args:
        model: A float graph with the output `heatmaps`.

    Returns:
        Name of group -> names of what its convolutions make; both in the order of the graph.

    Raises:
        QuantizationError: No convolution makes `heatmaps`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for index, name in _group_of_node(model).items():
        node = model.graph.node[index]
        if node.op_type == "Conv":
            found[name] = (*found.get(name, ()), node.output[0])
    return found


def read_groups(path: Path) -> dict[str, tuple[str, ...]]:
    """The groups of the float graph in a file: name -> names of the convolutions; none where INT8 cannot be."""
    model = onnx.load(path)
    layers = {node.output[0]: node.name or node.output[0] for node in model.graph.node}
    try:
        return {group: tuple(layers[made] for made in members) for group, members in groups(model).items()}
    except QuantizationError:
        return {}


def nodes_of(model: onnx.ModelProto, names: Iterable[str]) -> frozenset[int]:
    """Indices of all nodes of these groups.

    Args:
        model: A float graph with the output `heatmaps`.
        names: Of groups.

    Raises:
        ConfigError: There is no such group.
        QuantizationError: No convolution makes `heatmaps`.
    """
    wanted = frozenset(names)
    if not wanted:
        return frozenset()
    found = _group_of_node(model)
    known = dict.fromkeys(found.values())
    for name in sorted(wanted.difference(known)):
        near = " or ".join(map(repr, difflib.get_close_matches(name, known, n=3)))
        raise ConfigError(
            f"the network has {len(known)} groups of layers, but none is called {name!r}; "
            f"{f'did you mean {near}? List' if near else 'list'} them with: hgedge inspect BUNDLE --layers"
        )
    return frozenset(index for index, name in found.items() if name in wanted)


def _group_of_node(model: onnx.ModelProto) -> dict[int, str]:
    """Index of node -> its group, in the order of the graph; the head is left out."""
    nodes, head = model.graph.node, head_indices(model)
    readers = _only_readers(model, head)
    adds = _ends(model, readers)
    convolved = {adds[index] for index in adds if nodes[index].op_type == "Conv"}
    owners: dict[int, int] = {}  # index of node -> that of the Add or convolution that its group is called after
    for index in reversed(range(len(nodes))):
        if adds.get(index) in convolved:
            owners[index] = adds[index]
        elif nodes[index].op_type == "Conv" and index not in head:
            owners[index] = index
        elif readers.get(index) in owners:
            owners[index] = owners[readers[index]]
    if not owners:
        return {}
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    for index, node in enumerate(nodes):
        if index not in owners and index not in head:
            before = max((makers[name] for name in node.input if name in makers), default=-1)
            owners[index] = owners.get(before, min(owners.values()))
    return {index: nodes[owners[index]].output[0].removesuffix(".add") for index in sorted(owners)}


def _only_readers(model: onnx.ModelProto, head: frozenset[int]) -> dict[int, int]:
    """Index of node -> index of the one node that reads what it makes, where it is read once, and not by the head."""
    nodes = model.graph.node
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    readers: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node.input:
            if name in makers:
                readers[makers[name]].append(index)
    return {index: found[0] for index, found in readers.items() if len(found) == 1 and found[0] not in head}


def _ends(model: onnx.ModelProto, readers: dict[int, int]) -> dict[int, int]:
    """Index of node -> index of the addition of two activations that it leads to by a single path, or is."""
    nodes = model.graph.node
    constants = {item.name for item in model.graph.initializer}
    found: dict[int, int] = {}
    for index in reversed(range(len(nodes))):
        if nodes[index].op_type == "Add" and constants.isdisjoint(nodes[index].input):
            found[index] = index
        elif readers.get(index) in found:
            found[index] = found[readers[index]]
    return found
