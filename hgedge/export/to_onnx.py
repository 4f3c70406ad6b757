"""PyTorch to ONNX: export, keep the wanted stacks, simplify, rewrite, check."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from hgedge.errors import ConfigError, ExportError
from hgedge.export.rewrites import rewrite
from hgedge.export.rewrites.keep_stacks import keep_stacks
from hgedge.spec import InputSpec

if TYPE_CHECKING:
    from hgedge.models.hourglass import HourglassNet

OPSET = 17
IR_VERSION = 8  # that of opset 17: TensorRT of JetPack 6 reads it
EXPORTER_OPSET = 18  # the lowest that the exporter writes
INPUT = "image"
BATCH = "N"

# These would rename parameters or fold what our own rules fold; equal parameters must not become one.
SKIPPED_OPTIMIZERS = ["eliminate_duplicate_initializer", "eliminate_common_subexpression", "fuse_add_bias_into_conv"]


def onnx_from_network(net: HourglassNet, input: InputSpec, num_stacks: int | None = None) -> onnx.ModelProto:
    """Export a network as FP32, rewritten, simplified and checked.

    Args:
        net: Any device and mode; left as it is.
        input: Its input; height and width become static.
        num_stacks: Stacks to keep, from the first on; None keeps all.

    Returns:
        Opset 17. Input `image` (N, C, H, W) float32, already normalised; output `heatmaps` (N, K, h, w) float32 of the
        last kept stack, h and w the input's by the network's stride; N is dynamic. Tensors and nodes bear the names of
        `rewrites.name_tensors`.

    Raises:
        ConfigError: The input does not fit the network, or it has no such stack.
        ExportError: The exporter failed, or gave a graph that cannot be rewritten.
    """
    check_fits(net, input, num_stacks)
    model = _exported(net, input)
    keep_stacks(model, num_stacks)
    model = _simplified(model)
    named = next(outcome for outcome in rewrite(model) if outcome.rule == "name_tensors")
    if not named.count:
        raise ExportError(f"tensors cannot be named: {named.skipped[0]}; report this as a bug of hgedge")
    return _finished(model)


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write a model under a temporary name, then rename: a file that exists is whole.

    Raises:
        ExportError: The file cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(model.SerializeToString(deterministic=True))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            raise ExportError(f"cannot write {path}: {error.strerror}; choose another place") from error
        raise


def check_fits(net: HourglassNet, input: InputSpec, num_stacks: int | None) -> None:
    """Check that a network takes this input and has these stacks.

    Raises:
        ConfigError: It does not.
    """
    config = net.config
    if input.channels != config.in_channels:
        raise ConfigError(f"the network takes {config.in_channels} channels, but {input.color} has {input.channels}")
    if any(size % config.input_multiple for size in input.hw):
        raise ConfigError(
            f"input height and width must be multiples of {config.input_multiple} for this network, "
            f"but got {input.hw[0]}x{input.hw[1]}"
        )
    if num_stacks is not None and not 1 <= num_stacks <= config.num_stacks:
        raise ConfigError(f"num_stacks must be from 1 to {config.num_stacks} for this network, but got {num_stacks}")


def inference_copy(net: HourglassNet) -> HourglassNet:
    """A copy on the CPU, in FP32 and evaluation mode."""
    return copy.deepcopy(net).cpu().float().eval()


def _exported(net: HourglassNet, input: InputSpec) -> onnx.ModelProto:
    """The graph as PyTorch's exporter gives it, unoptimised, at `OPSET`.

    Parameters keep their module paths as names. The trace is of one picture; no layer looks at the batch, so its size
    is made symbolic afterwards (tracing it so takes half as long again; the type check in `_finished` holds it true).
    """
    import torch
    from onnx import version_converter

    picture = torch.zeros(1, input.channels, *input.hw)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                inference_copy(net),
                (picture,),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=EXPORTER_OPSET,
                input_names=[INPUT],
                output_names=["all_heatmaps"],
            )
            model = version_converter.convert_version(program.model_proto, OPSET)  # type: ignore[union-attr]
    except Exception as error:  # the exporter and its passes raise what they like
        raise ExportError(f"PyTorch's ONNX exporter failed: {error}") from error
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    simplified: onnx.ModelProto
    simplified, ok = onnxsim.simplify(model, skip_fuse_bn=True, skipped_optimizers=SKIPPED_OPTIMIZERS)
    if not ok:
        raise ExportError("onnxsim could not prove its simplified graph equal; report this as a bug of hgedge")
    del simplified.metadata_props[:]  # how it was simplified
    return simplified


def _finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """With shapes of every tensor, checked, and with nothing in it that changes from machine to machine."""
    version = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if version != OPSET or len(model.opset_import) != 1:
        found = ", ".join(f"{item.domain or 'ai.onnx'} {item.version}" for item in model.opset_import)
        raise ExportError(f"the graph must need opset {OPSET} alone, but needs {found}; use another PyTorch or onnx")
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "hgedge", "", ""
    model.graph.name, model.graph.doc_string = "hourglass", ""
    del model.graph.metadata_props[:]
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    try:
        checked: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(checked)
    except Exception as error:  # onnx raises several kinds
        raise ExportError(f"the rewritten graph is not valid ONNX: {error}; report this as a bug of hgedge") from error
    return checked


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about torchvision and about PyTorch's own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)
