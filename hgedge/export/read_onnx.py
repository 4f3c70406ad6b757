"""Read an ONNX file that hgedge did not write: whole, float, sound, and of an opset that quantisation knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, inliner, numpy_helper, version_converter

from hgedge.errors import ExportError
from hgedge.export.rewrites import lift_constants, rewrite
from hgedge.export.rewrites.graph import label
from hgedge.export.to_onnx import OPSET

log = logging.getLogger(__name__)

OPSETS = range(13, 20)  # what quantisation and FP16 know; others are converted to OPSET
QUANTISED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinear",
    "QGemm",
    "ConvInteger",
    "MatMulI",
)
SHOWN = 3  # names in a message


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a float ONNX file with its external data.

    Returns:
        Of an opset in `OPSETS`, constants as initializers, no functions, no initializer that is listed as an input.
        Types, ends, names and structure are the file's.

    Raises:
        ExportError: The file is none, not whole, quantised, of unknown operators or opset, or holds NaN or Inf.
    """
    model = _parsed(path)
    _check_operators(model, path)
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model = _of_known_opset(model, path)
    rewrite(model, (lift_constants,))
    _check_finite(model, path)
    return model


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model asks for; 0: none."""
    return next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # protobuf's own
        raise ExportError(f"{path} is not an ONNX file, or cut off ({error})") from error
    if not model.graph.node:
        raise ExportError(f"{path} is not an ONNX file: it holds no graph")
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises several kinds
        outside = (item for item in model.graph.initializer if external_data_helper.uses_external_data(item))
        files = sorted({entry.value for item in outside for entry in item.external_data if entry.key == "location"})
        raise ExportError(
            f"{path} keeps weights in {', '.join(files)}, which cannot be read beside it ({_first_line(error)}); "
            "copy the files together"
        ) from error
    return inliner.inline_local_functions(model) if model.functions else model


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    quantised = sorted({node.op_type for node in model.graph.node if node.op_type.startswith(QUANTISED)})
    if quantised:
        raise ExportError(
            f"{path} is quantised already ({', '.join(quantised)}); give the float network that it was made from"
        )
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign:
        raise ExportError(
            f"{path} must hold ONNX's own operators alone, but has {_some(foreign)}; "
            "export it again, without the optimisations of a runtime"
        )


def _of_known_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    version = opset(model)
    if version in OPSETS:
        return model
    log.info("%s has opset %d: converted to %d", path.name, version, OPSET)
    try:
        converted = version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(converted)
    except Exception as error:  # onnx raises several kinds
        raise ExportError(
            f"{path} has opset {version}, which cannot become {OPSET} ({_first_line(error)}); "
            f"export it with an opset from {OPSETS[0]} to {OPSETS[-1]}"
        ) from error
    return converted


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a model has ends or weights in FP16."""
    graph = model.graph
    ends = [item.type.tensor_type.elem_type for item in (*graph.input, *graph.output)]
    return TensorProto.FLOAT16 in (*ends, *(item.data_type for item in graph.initializer))


def widen(model: onnx.ModelProto) -> None:
    """Make FP32 of every tensor that is FP16, in place."""
    graph = model.graph
    del graph.value_info[:]
    for end in (*graph.input, *graph.output):
        if end.type.tensor_type.elem_type == TensorProto.FLOAT16:
            end.type.tensor_type.elem_type = TensorProto.FLOAT
    for item in graph.initializer:
        if item.data_type == TensorProto.FLOAT16:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float32), item.name))
    for node in graph.node:
        for attribute in node.attribute:
            if (node.op_type, attribute.name, attribute.i) == ("Cast", "to", TensorProto.FLOAT16):
                attribute.i = TensorProto.FLOAT
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.CopyFrom(helper.make_attribute(attribute.name, numpy_helper.from_array(values)))


def _check_finite(model: onnx.ModelProto, path: Path) -> None:
    bounds = {name for node in model.graph.node if node.op_type in ("Clip", "Pad") for name in node.input[1:]}
    for item in model.graph.initializer:
        if (
            item.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16)
            or item.name in bounds
            or np.isfinite(numpy_helper.to_array(item)).all()
        ):
            continue
        reader = next((label(node) for node in model.graph.node if item.name in node.input), "nothing")
        raise ExportError(
            f"{path}: {item.name} (read by {reader}) holds NaN or Inf; its training diverged, or the file is damaged"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
