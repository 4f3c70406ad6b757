"""ONNX from elsewhere to hgedge's form: ends, layout, free batch, rewrites; checked against the file itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import ExportError
from hgedge.export.onnx_ends import LAYOUTS, STACKED, HeatmapOutput, ImageInput, heatmap_output, run_onnx
from hgedge.export.read_onnx import is_half, opset, widen
from hgedge.export.rewrites import cancel_transposes, collapse_reinjection, fold_batchnorm, lift_constants, rewrite
from hgedge.export.rewrites.graph import Graph, attribute
from hgedge.export.to_onnx import BATCH, INPUT, IR_VERSION, SKIPPED_OPTIMIZERS

log = logging.getLogger(__name__)

RULES = (lift_constants, cancel_transposes, collapse_reinjection, fold_batchnorm)
OUTPUT = "heatmaps"
NAMING_VERSION = "0"  # tensors are called as in the file; the key of a range table holds the digest of the graph
TOLERANCE = 1e-4  # of the heatmaps' range, as in `verify`
HALF_TOLERANCE = 2e-2  # where the file computes in FP16, which rounds every layer to 5e-4


@dataclass(frozen=True)
class ForeignGraph:
    """A graph in hgedge's form.

    Attributes:
        model: Input `image` (N, C, H, W), output `heatmaps` (N, K, h, w), both float32.
        heatmaps: Which output of the file it is.
        free_batch: Whether N is free; else it is 1.
    """

    model: onnx.ModelProto
    heatmaps: HeatmapOutput
    free_batch: bool


def graph_from_onnx(
    path: Path,
    model: onnx.ModelProto,
    image: ImageInput,
    picture: np.ndarray,
    heatmaps: str | None = None,
    num_keypoints: int | None = None,
) -> ForeignGraph:
    """Bring an ONNX file to hgedge's form.

    Args:
        path: The file; it is run as it is, to compare.
        model: What `read_onnx` read from it; left as it is.
        image: Its input.
        picture: (C, H, W) float32, a normalised photograph.
        heatmaps: Name of the output to keep; None: found by its shape.
        num_keypoints: Heatmaps that there must be, where it is known.

    Raises:
        ExportError: The graph cannot be brought to this form, or gives other heatmaps in it.
        ConfigError: The output cannot be told.
        BackendUnavailable: ONNX Runtime is not installed.
    """
    batch = np.repeat(picture[None], max(image.batch, 1), axis=0)
    made = run_onnx(path, {image.name: image.array(batch)}, str(path))
    shapes = {name: values.shape for name, values in made.items() if isinstance(values, np.ndarray)}
    output = heatmap_output(shapes, image, heatmaps, num_keypoints, path)
    expected = output.maps(made[output.name])[:1]
    tolerance = HALF_TOLERANCE if is_half(model) else TOLERANCE
    fixed = _for_one_picture(model, image, output)
    pictures = np.stack([picture, picture[:, ::-1, ::-1]])
    try:
        ours = _finished(_with_free_batch(fixed))
        _verify(ours, pictures, expected, tolerance, path)
    except ExportError as error:
        ours = _finished(fixed)
        _verify(ours, pictures[:1], expected, tolerance, path)
        log.warning("%s computes one picture at a time, as its batch cannot be freed: %s", path.name, error)
        return ForeignGraph(ours, output, False)
    return ForeignGraph(ours, output, True)


def _for_one_picture(model: onnx.ModelProto, image: ImageInput, output: HeatmapOutput) -> onnx.ModelProto:
    """A copy in FP32 with our ends, a batch of 1, simplified and rewritten."""
    ours = onnx.ModelProto()
    ours.CopyFrom(model)
    if is_half(ours):
        log.info("FP16 is widened to FP32")
        widen(ours)
    _set_ends(ours, image, output)
    if image.batch > 1:
        _free_reshapes(ours, image.batch)
    ours = _simplified(ours)
    for node in ours.graph.node:
        node.domain, node.name = "", node.output[0]
    rewrite(ours, RULES)
    return ours


def _set_ends(model: onnx.ModelProto, image: ImageInput, output: HeatmapOutput) -> None:
    """Call the ends `image` and `heatmaps`, in our layout and of the last stack; drop other outputs."""
    graph = model.graph
    ends = {
        end.name: name if end.layout == "NCHW" else f"{name}.{end.layout}"
        for end, name in ((image, INPUT), (output, OUTPUT))
    }
    names = {INPUT: f"{INPUT}.other", OUTPUT: f"{OUTPUT}.other", **ends}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in graph.initializer:
        item.name = names.get(item.name, item.name)
    nodes = list(graph.node)
    if image.layout != "NCHW":
        order = np.argsort(LAYOUTS[image.layout]).tolist()
        nodes.insert(0, helper.make_node("Transpose", [INPUT], [ends[image.name]], perm=order))
    if output.layout == STACKED:
        nodes.append(_last_stack(graph, ends[output.name], output.num_stacks))
    elif output.layout != "NCHW":
        nodes.append(helper.make_node("Transpose", [ends[output.name]], [OUTPUT], perm=list(LAYOUTS[output.layout])))
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    shapes = ((graph.input, INPUT, image), (graph.output, OUTPUT, output))
    for side, name, end in shapes:
        side.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, end.channels, *end.hw]))
    Graph(model).remove_dead()


def _last_stack(graph: onnx.GraphProto, stacked: str, num_stacks: int) -> onnx.NodeProto:
    """The node that makes `heatmaps` out of all stacks' maps: of maps that were put together the last as they were."""
    makers = {name: node for node in graph.node for name in node.output}
    together = makers.get(stacked)
    if together is not None and (together.op_type, attribute(together, "axis", 0)) == ("Concat", 1):
        last = makers.get(together.input[-1])
        if len(together.input) == num_stacks and last is not None and last.op_type == "Unsqueeze":
            return helper.make_node("Identity", [last.input[0]], [OUTPUT])
    index = numpy_helper.from_array(np.array(num_stacks - 1, np.int64), f"{OUTPUT}.stack")
    graph.initializer.append(index)
    return helper.make_node("Gather", [stacked, index.name], [OUTPUT], axis=1)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        import onnxsim
    except ImportError:
        log.info("onnxsim is not installed: the graph is not simplified")
        return model
    try:
        simplified: onnx.ModelProto
        simplified, ok = onnxsim.simplify(model, skip_fuse_bn=True, skipped_optimizers=SKIPPED_OPTIMIZERS)
    except Exception as error:  # it raises what it likes
        log.warning("onnxsim fails, so the graph is not simplified: %s", error)
        return model
    return simplified if ok else model


def _with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with N free, as far as shapes that are written in the graph can be freed."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    _free_resizes(freed)
    _free_reshapes(freed, 1)
    for end in (*freed.graph.input, *freed.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = BATCH
    return freed


def _free_reshapes(model: onnx.ModelProto, batch: int) -> None:
    """Reshape to (batch, ...): 0 instead, which keeps the size that comes in."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[0] in graph.constants or node.input[1] not in graph.constants:
            continue
        shape = numpy_helper.to_array(graph.constants[node.input[1]]).copy()
        if shape.size and shape[0] == batch and 0 not in shape:
            shape[0] = 0
            _set_constant(model, node, 1, shape)
            kept = [item for item in node.attribute if item.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _free_resizes(model: onnx.ModelProto) -> None:
    """Resize to sizes: by scales instead, where float32 tells them exactly."""
    graph = Graph(model)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in (*inferred.input, *inferred.value_info)
    }
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or node.input[3] not in graph.constants:
            continue
        before = np.array(shapes.get(node.input[0], ()), np.float32)
        after = numpy_helper.to_array(graph.constants[node.input[3]]).astype(np.float32)
        if (
            len(before) != len(after)
            or not before.all()
            or attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch"
        ):
            continue
        scales = (after / before).astype(np.float32)
        if (np.floor(before * scales) == after).all():
            del node.input[3:]
            _set_constant(model, node, 2, scales)


def _set_constant(model: onnx.ModelProto, node: onnx.NodeProto, index: int, values: np.ndarray) -> None:
    """Give a node a constant of its own."""
    name = f"{node.output[0]}.{index}"
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    node.input[index] = name


def _finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """With shapes of every tensor, checked, and with nothing in it but what is computed."""
    version = opset(model)
    graph = model.graph
    Graph(model).remove_dead()
    for record in (model.opset_import, model.metadata_props, model.functions, graph.metadata_props, graph.value_info):
        del record[:]
    model.opset_import.add(domain="", version=version)
    model.ir_version = max(IR_VERSION, helper.find_min_ir_version_for(model.opset_import))
    model.producer_name, model.producer_version, model.domain, model.doc_string = "hgedge", "", "", ""
    graph.name, graph.doc_string = "heatmaps", ""
    for item in (*graph.node, *graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    helper.set_model_props(model, {"naming_version": NAMING_VERSION})
    try:
        checked: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(checked)
    except Exception as error:  # onnx raises several kinds
        raise ExportError(f"the graph is not valid ONNX in hgedge's form: {error}") from error
    return checked


def _verify(model: onnx.ModelProto, pictures: np.ndarray, expected: np.ndarray, tolerance: float, where: Path) -> None:
    """Compare the first picture's heatmaps with the file's, the others with their own alone."""
    graph = model.SerializeToString()
    name = f"{where}, brought to hgedge's form"
    together = run_onnx(graph, {INPUT: pictures}, name)[OUTPUT]
    alone = [run_onnx(graph, {INPUT: pictures[i : i + 1]}, name)[OUTPUT] for i in range(1, len(pictures))]
    wanted = np.concatenate([expected, *alone])
    spread = float(np.ptp(expected))
    if not np.isfinite(spread) or spread == 0:
        raise ExportError(
            f"{where} gives heatmaps that range over {spread} on a photograph, so nothing can be compared; "
            "check --mean, --std and --heatmaps"
        )
    difference = float(np.abs(together - wanted).max()) / spread if together.shape == wanted.shape else np.inf
    if not difference <= tolerance:
        raise ExportError(
            f"{where} must give its own heatmaps within {tolerance:g} of their range when brought to hgedge's form, "
            f"but differs by {difference:.3g}; report this as a bug of hgedge"
        )
