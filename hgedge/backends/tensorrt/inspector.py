"""What an engine executes, as TensorRT's engine inspector tells: kernels, their types, and what was fused into each.

The inspector's JSON has `Layers`, in order, of all profiles; a layer that is not of the first ends in ` [profile N]`.
A layer has a `Name`, a `LayerType`, `Inputs` and `Outputs`, and what its type brings, as the type of its `Weights`.
`Metadata` (since TensorRT 8.6) names the ONNX nodes in it, as `[ONNX Layer: stem.conv]`, parted by a control character;
before, `Name` is all there is: nodes joined with ` + `. A tensor has `Format/Datatype` up to TensorRT 10, as "Row major
Int8 format" or "Half"; since 11 a `Format` and a `DataType`.

Source: NVIDIA's pages on the engine inspector (8.5 to 10.16), and on its migration from 10.x to 11.x.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hgedge.errors import ExportError

TYPES = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "uint8": "u8",
    "int8": "i8",
    "fp8": "f8",
    "half": "f16",
    "fp16": "f16",
    "float": "f32",
    "fp32": "f32",
    "int32": "i32",
    "int64": "i64",
    "bool": "bool",
}  # what the inspector calls them -> what hgedge does
TYPE = re.compile("|".join(TYPES), re.IGNORECASE)
UNKNOWN = "?"
OTHER_PROFILE = re.compile(r"\[profile \d+\]")
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


@dataclass(frozen=True)
class Kernel:
    """A layer of an engine.

    Attributes:
        name: TensorRT's.
        kind: As "CaskConvolution", "Reformat", "kgen".
        precision: What it computes in: the type of its weights, else of what it reads first; "?" where nobody tells.
        reads: Types of its inputs.
        writes: Types of its outputs.
        nodes: ONNX nodes that it computes.
    """

    name: str
    kind: str
    precision: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def is_reformat(self) -> bool:
        """Whether it only brings a tensor into another layout or type."""
        return self.kind == "Reformat"


def kernels(document: str) -> tuple[Kernel, ...]:
    """The layers of an engine's first profile.

    Args:
        document: JSON of the engine inspector.

    Raises:
        ExportError: It is another document.
    """
    try:
        layers = json.loads(document)["Layers"]
    except (ValueError, TypeError, KeyError) as error:
        raise ExportError(f"the engine inspector tells no layers, but {document[:60]!r}") from error
    named = ({"Name": layer} if isinstance(layer, str) else layer for layer in layers)
    return tuple(_kernel(layer) for layer in named if not OTHER_PROFILE.search(layer["Name"]))


def summary(executed: Iterable[Kernel], operators: Mapping[str, str]) -> dict[str, Any]:
    """What an engine made of a graph.

    Args:
        executed: Its kernels.
        operators: ONNX node -> operator of the graph; empty where the graph cannot be read.

    Returns:
        `layers` (convolution -> type; where nobody knows which nodes are, the kernels that are called so),
        `convolutions` (type -> count), `kernels`, `reformats` (count), and `additions` and `fused_additions`: of the
        graph's, and of those the ones that a convolution's kernel does; None without the graph.
    """
    executed = tuple(executed)
    homes = {node: kernel for kernel in reversed(executed) if not kernel.is_reformat for node in kernel.nodes}
    convolutions = [node for node, operator in operators.items() if operator == "Conv"]
    additions = [node for node, operator in operators.items() if operator == "Add"]
    found = {node: homes[node].precision if node in homes else UNKNOWN for node in convolutions} or {
        kernel.name: kernel.precision for kernel in executed if "conv" in kernel.kind.lower()
    }
    fused = [node for node in additions if node in homes and not set(convolutions).isdisjoint(homes[node].nodes)]
    return {
        "layers": found,
        "convolutions": dict(Counter(found.values()).most_common()),
        "kernels": [asdict(kernel) for kernel in executed],
        "reformats": sum(kernel.is_reformat for kernel in executed),
        "additions": len(additions) if operators else None,
        "fused_additions": len(fused) if operators else None,
    }


def _kernel(layer: Mapping[str, Any]) -> Kernel:
    reads, writes = (tuple(map(_type, layer.get(side, ()))) for side in ("Inputs", "Outputs"))
    weights = layer.get("Weights")
    precision = _named(str(weights["Type"])) if isinstance(weights, dict) and "Type" in weights else UNKNOWN
    if precision == UNKNOWN and reads:
        precision = reads[0]
    return Kernel(layer["Name"], layer.get("LayerType", UNKNOWN), precision, reads, writes, _nodes(layer))


def _type(tensor: Mapping[str, Any]) -> str:
    told = [str(text) for key, text in tensor.items() if key.lower() in ("datatype", "format/datatype", "format")]
    return next((found for found in map(_named, sorted(told, key=len)) if found != UNKNOWN), UNKNOWN)


def _named(text: str) -> str:
    """The type in a description; "Float" and "Row major linear FP32 format" are one."""
    found = TYPE.search(text)
    return TYPES[found[0].lower()] if found else UNKNOWN


def _nodes(layer: Mapping[str, Any]) -> tuple[str, ...]:
    told = NODE.findall(layer.get("Metadata") or "")
    if not told and layer.get("LayerType") != "Reformat":
        told = re.split(r" \+ | \|\| ", re.sub(r"PWN\(|\)", "", layer["Name"]))
    return tuple(dict.fromkeys(told))
