"""ONNX Runtime on CPUs: the portable reference."""
