"""An ONNX graph as TensorRT's network, and what its builder was given: layers, types, convolutions in INT8."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from hgedge.backends.tensorrt.library import logger, strongly_typed
from hgedge.errors import BackendUnavailable, ExportError, QuantizationError

SCALED_OPS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class ParsedNetwork:
    """A network with the builder and the parser that own parts of it.

    Attributes:
        builder_flags: Names of the flags that a weakly typed builder needs for the graph.
    """

    network: Any
    builder: Any
    parser: Any
    builder_flags: tuple[str, ...]


@dataclass(frozen=True)
class NetworkSummary:
    """Counts of a network before it is built.

    Attributes:
        layers: By type, as "CONVOLUTION".
        tensors: By type of data, as "HALF"; the inputs and what every layer but a constant makes.
        convolutions: By the type that they compute in: "INT8" if both image and weight are dequantised for them.
    """

    layers: dict[str, int]
    tensors: dict[str, int]
    convolutions: dict[str, int]


def creation_flags(trt: ModuleType, typed: bool = True) -> int:
    """Bits for `create_network`: a strongly typed network where there is one, an explicit batch where it is needed."""
    flags = trt.NetworkDefinitionCreationFlag
    wanted = ("STRONGLY_TYPED", "EXPLICIT_BATCH") if typed else ("EXPLICIT_BATCH",)
    name = next((name for name in wanted if hasattr(flags, name)), None)
    return 0 if name is None else 1 << int(getattr(flags, name))


def parse(model_path: Path, trt: ModuleType, on_dla: bool = False) -> ParsedNetwork:
    """Read an ONNX file.

    Args:
        model_path: The file.
        trt: `tensorrt` or `tensorrt_rtx`.
        on_dla: For a DLA core: weakly typed where types can be weak, as TensorRT 10 documents no other way.

    Raises:
        ExportError: TensorRT cannot parse it; the message has every error of the parser.
        QuantizationError: It holds unsigned or asymmetric Q/DQ pairs, which TensorRT would take for signed ones.
        BackendUnavailable: The builder does not start, as without a GPU.
    """
    try:
        model = onnx.load(str(model_path), load_external_data=False)
    except Exception as error:  # a type of its own that protobuf has
        raise ExportError(
            f"{model_path} is not an ONNX file ({error}); export the graph with: hgedge export"
        ) from error
    refuse_unsigned(model)
    log = logger(trt)
    log.errors.clear()
    try:
        builder = trt.Builder(log)
    except Exception as error:  # the library raises types of its own
        reasons = "; ".join(log.errors) or str(error)
        raise BackendUnavailable(f"{trt.__name__} {trt.__version__} cannot build on this machine: {reasons}") from error
    typed = strongly_typed(trt) and not (on_dla and hasattr(trt.BuilderFlag, "FP16"))
    network = builder.create_network(creation_flags(trt, typed))
    parser = trt.OnnxParser(network, log)
    if on_dla and hasattr(trt, "OnnxParserFlag") and hasattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA"):
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)
    if not parser.parse_from_file(str(model_path)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ExportError(
            f"{trt.__name__} {trt.__version__} cannot parse {model_path}: {'; '.join(errors)}; "
            "export the graph again with: hgedge export"
        )
    return ParsedNetwork(network, builder, parser, () if typed else _weak_flags(model))


def refuse_unsigned(model: onnx.ModelProto) -> None:
    """Raise QuantizationError for a Q/DQ pair that is not signed with zero point 0: TensorRT's parser only warns."""
    constants = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in SCALED_OPS:
            continue
        point = constants.get(node.input[2]) if len(node.input) > 2 else None
        if point is None or point.data_type != TensorProto.INT8 or numpy_helper.to_array(point).any():
            tensor = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
            found = "none in the graph" if point is None else TensorProto.DataType.Name(point.data_type)
            if found == "INT8":
                found += ", not 0"
            raise QuantizationError(
                f"TensorRT takes INT8 Q/DQ pairs with zero point 0, but that of {tensor!r} is another one ({found}); "
                "build the bundle for this backend, not for openvino"
            )


def describe(network: Any) -> NetworkSummary:
    """Count the layers and tensors of a parsed network."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = [layer for layer in layers if layer.type.name != "CONSTANT"]
    made = [layer.get_output(index) for layer in makers for index in range(layer.num_outputs)]
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    dequantised = {layer.get_output(0).name for layer in layers if layer.type.name == "DEQUANTIZE"}
    convolutions = [layer for layer in layers if layer.type.name == "CONVOLUTION"]
    return NetworkSummary(
        dict(Counter(layer.type.name for layer in layers)),
        dict(Counter(tensor.dtype.name for tensor in inputs + made)),
        dict(Counter(_computes_in(layer, dequantised) for layer in convolutions)),
    )


def _computes_in(convolution: Any, dequantised: set[str]) -> str:
    names = [convolution.get_input(index).name for index in range(min(convolution.num_inputs, 2))]
    eight_bits = len(names) == 2 and dequantised.issuperset(names)
    return "INT8" if eight_bits else str(convolution.get_input(0).dtype.name)


def _weak_flags(model: onnx.ModelProto) -> tuple[str, ...]:
    """What TensorRT 8 must be allowed to compute in: FP16 beside INT8, or the float remainder would be FP32."""
    if any(node.op_type in SCALED_OPS for node in model.graph.node):
        return ("FP16", "INT8")
    return ("FP16",) if any(item.data_type == TensorProto.FLOAT16 for item in model.graph.initializer) else ()
