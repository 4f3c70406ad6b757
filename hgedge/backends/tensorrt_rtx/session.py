"""Run a TensorRT-RTX engine: not there yet, and said so."""

from hgedge.backends.tensorrt.session import load

__all__ = ["load"]
