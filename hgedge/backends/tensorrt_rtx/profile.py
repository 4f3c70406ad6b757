"""Time the kernels of a TensorRT-RTX engine, as TensorRT's are."""

from __future__ import annotations

from hgedge.backends.tensorrt.profile import profile

__all__ = ["profile"]
