"""PyTorch to ONNX, rewritten and proved equal. Importing it loads onnx alone: bundles are built without torch."""

from hgedge.export.statistics import gmacs, num_convs
from hgedge.export.to_onnx import onnx_from_network, write_onnx

__all__ = ["gmacs", "num_convs", "onnx_from_network", "write_onnx"]
