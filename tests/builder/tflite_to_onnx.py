"""A TFLite network written out as ONNX, node by node: NHWC at its ends, NCHW inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

OPTIONS = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions,
    "ADD": tflite.AddOptions,
}


class Converter:
    """One network of Conv, depthwise Conv, Relu, Add, MaxPool and bilinear Resize."""

    def __init__(self, path: Path) -> None:
        self.model = tflite.Model.GetRootAs(path.read_bytes(), 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def convert(self) -> onnx.ModelProto:
        (first,), (last,) = self.graph.InputsAsNumpy(), self.graph.OutputsAsNumpy()
        self.add("Transpose", [self.name(first)], f"{self.name(first)}/nchw", perm=[0, 3, 1, 2])
        for index in range(self.graph.OperatorsLength()):
            self.operator(self.graph.Operators(index))
        self.add("Transpose", [self.inner(last)], self.name(last), perm=[0, 2, 3, 1])
        ends = [
            helper.make_tensor_value_info(self.name(end), TensorProto.FLOAT, self.shape(end)) for end in (first, last)
        ]
        graph = helper.make_graph(self.nodes, "mobile", ends[:1], ends[1:], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)

    def operator(self, op) -> None:
        code = self.model.OperatorCodes(op.OpcodeIndex())
        kind = tflite.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        options = OPTIONS[kind]() if kind in OPTIONS else None
        if options is not None:
            options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        inputs, (output,) = op.InputsAsNumpy(), op.OutputsAsNumpy()
        fused = getattr(options, "FusedActivationFunction", lambda: tflite.ActivationFunctionType.NONE)()
        made = self.inner(output) + ("/linear" if fused else "")
        getattr(self, kind.lower() if kind != "ADD" else "add_")(inputs, made, options)
        if fused == tflite.ActivationFunctionType.RELU6:
            bounds = [self.constant(f"{made}/{bound}", np.float32(bound)) for bound in (0, 6)]
            self.add("Clip", [made, *bounds], self.inner(output))
        elif fused:
            assert fused == tflite.ActivationFunctionType.RELU
            self.add("Relu", [made], self.inner(output))

    def conv_2d(self, inputs, made, options) -> None:
        weight = self.value(inputs[1]).transpose(0, 3, 1, 2)
        self.conv(inputs, made, options, weight, 1)

    def depthwise_conv_2d(self, inputs, made, options) -> None:
        weight = self.value(inputs[1]).transpose(3, 0, 1, 2)
        assert options.DepthMultiplier() == 1
        self.conv(inputs, made, options, weight, len(weight))

    def conv(self, inputs, made, options, weight, group) -> None:
        assert (options.DilationHFactor(), options.DilationWFactor()) == (1, 1)
        parameters = [self.constant(f"{made}/weight", weight), self.constant(f"{made}/bias", self.value(inputs[2]))]
        attributes = self.window(options, inputs[0], weight.shape[2:])
        self.add("Conv", [self.inner(inputs[0]), *parameters], made, group=group, **attributes)

    def relu(self, inputs, made, options) -> None:
        self.add("Relu", [self.inner(inputs[0])], made)

    def add_(self, inputs, made, options) -> None:
        self.add("Add", [self.inner(index) for index in inputs], made)

    def max_pool_2d(self, inputs, made, options) -> None:
        kernel = (options.FilterHeight(), options.FilterWidth())
        window = self.window(options, inputs[0], kernel)
        self.add("MaxPool", [self.inner(inputs[0])], made, kernel_shape=kernel, **window)

    def resize_bilinear(self, inputs, made, options) -> None:
        (height, width), before = self.value(inputs[1]), self.shape(inputs[0])
        scales = self.constant(f"{made}/scales", np.float32([1, 1, height / before[1], width / before[2]]))
        mode = (
            "align_corners" if options.AlignCorners() else "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        )
        self.add(
            "Resize", [self.inner(inputs[0]), "", scales], made, mode="linear", coordinate_transformation_mode=mode
        )

    def window(self, options, index, kernel) -> dict[str, list[int]]:
        """Strides, and the padding of TensorFlow's SAME: the odd pixel below and right."""
        strides = [options.StrideH(), options.StrideW()]
        if options.Padding() == tflite.Padding.VALID:
            return {"strides": strides}
        _, height, width, _ = self.shape(index)
        total = [
            max((-(-size // stride) - 1) * stride + span - size, 0)
            for size, stride, span in zip((height, width), strides, kernel)
        ]
        return {"strides": strides, "pads": [total[0] // 2, total[1] // 2, -(-total[0] // 2), -(-total[1] // 2)]}

    def add(self, operation: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def name(self, index: int) -> str:
        return self.graph.Tensors(index).Name().decode()

    def inner(self, index: int) -> str:
        return f"{self.name(index)}/nchw"

    def shape(self, index: int) -> list[int]:
        return self.graph.Tensors(index).ShapeAsNumpy().tolist()

    def value(self, index: int) -> np.ndarray:
        tensor = self.graph.Tensors(index)
        kind = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.INT32: np.int32}[tensor.Type()]
        return self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(self.shape(index))
