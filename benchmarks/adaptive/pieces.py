"""A network that can be left after every stack: an OpenVINO engine a stack, each handing its features on in INT8.

Tried, and no faster: tensors at the borders laid out channels last; features and the sum before as two tensors, so that
a stack is left without the convolution that adds them (0.1 of a stack): each tensor costs two reorders, and as much.
"""

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper

from benchmarks.adaptive.rule import apart
from hgedge.backends.openvino.build import fold_input
from hgedge.backends.openvino.session import PRECISION_HINTS
from hgedge.bundle import read_manifest
from hgedge.runtime.decode import decode


class Pieces:
    """The engines. The tensors that one hands on are the next one's inputs, in place.

    Takes number of stacks -> INT8 bundle of so many stacks, for each number from 1 on, all with the same ranges.
    """

    def __init__(self, bundles):
        manifest, core = read_manifest(bundles[1]), ov.Core()
        hints = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS["int8"], "PERFORMANCE_HINT": "LATENCY"}
        self.decode, self.requests, tensors = manifest.decode, [], {}
        for model in split(bundles):
            read = core.read_model(model.SerializeToString())
            read = read if self.requests else fold_input(read, manifest.input)
            request = core.compile_model(read, "CPU", hints).create_infer_request()
            for port in read.inputs if self.requests else ():
                request.set_tensor(port.any_name, tensors[port.any_name])
            tensors |= {port.any_name: request.get_tensor(port.any_name) for port in read.outputs}
            self.requests.append(request)
        self.heatmaps = [tensors.pop(heatmaps(count)).data for count in bundles]
        self.handed_bytes = {name: tensor.byte_size for name, tensor in tensors.items()}

    def run(self, crops, stacks=None):
        """Yield (1, K, h, w) heatmaps stack by stack; whoever asks for no more has run no more."""
        self.requests[0].set_input_tensor(ov.Tensor(crops, shared_memory=True))
        for request, found in zip(self.requests[:stacks], self.heatmaps):
            request.infer()
            yield found

    def located(self, found):
        """(1, K, 2) keypoints in pixels of the input, and (1, K) scores."""
        return decode(found, self.decode.stride, self.decode.shift)

    def run_by_rule(self, crops, kind, limit, stacks=None):
        """Keypoints after the first stack that agrees with the one before it, or after so many."""
        seen = []
        for found in self.run(crops, stacks):
            seen.append(self.located(found))
            if len(seen) > 1:
                points, scores = map(np.stack, zip(*seen[-2:]))
                if apart(points, scores, kind, self.decode.stride)[0, 0] <= limit:
                    break
        return seen[-1]


def heatmaps(count):
    return f"heatmaps.{count}"


def handed_on(count):
    return f"merge_features.{count - 1}.add.quantized"


def split(bundles):
    """The INT8 graph of each stack: it reads the sum that the one before hands on, and makes its heatmaps and a sum."""
    model = joined(bundles)
    makers = {node.output[0]: node for node in model.graph.node}
    parts, made = [], set()
    for count in bundles:
        made_here = [name for name in (heatmaps(count), handed_on(count)) if name in makers]
        own, read = needs(makers, made, made_here)
        parts.append(part(model, makers, own, read, made_here))
        made |= own
    return parts


def joined(bundles):
    """The graph of all stacks, with the heatmaps of each as the bundle of so many makes them."""
    models = [onnx.load(bundle / "model.onnx") for bundle in bundles.values()]
    whole = models[-1]
    for count, model in enumerate(models, 1):
        (head,) = [node for node in model.graph.node if node.output[0] == "heatmaps"]
        head.output[0] = heatmaps(count)
        if model is not whole:
            whole.graph.node.append(head)
            whole.graph.initializer.extend(item for item in model.graph.initializer if item.name in head.input)
    return whole


def needs(makers, made, wanted):
    """What a part makes itself, and what it reads of those before; a tensor in INT8 is widened wherever it is read."""
    own, read, waiting = set(), set(), [*wanted]
    while waiting:
        name = waiting.pop()
        if name not in makers:  # a constant, or the picture
            continue
        if name in made and makers[name].op_type != "DequantizeLinear":
            read.add(name)
        elif name not in own:
            own.add(name)
            waiting += makers[name].input
    return own, read


def part(model, makers, own, read, outputs):
    graph, nodes = model.graph, [node for node in model.graph.node if node.output[0] in own]
    used = {name for node in nodes for name in node.input}
    constants = {item.name: item for item in graph.initializer}
    shapes = {item.name: item.type.tensor_type.shape.dim for item in graph.value_info}

    def end(name):
        if makers[name].op_type != "QuantizeLinear":
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        source, _, zero_point = makers[name].input
        shape = [1, *(dim.dim_value for dim in shapes[source][1:])]
        return helper.make_tensor_value_info(name, constants[zero_point].data_type, shape)

    inputs = [item for item in graph.input if item.name in used] + [end(name) for name in sorted(read)]
    kept = [item for name, item in constants.items() if name in used]
    made = helper.make_graph(nodes, "part", inputs, [end(name) for name in outputs], kept)
    return helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
