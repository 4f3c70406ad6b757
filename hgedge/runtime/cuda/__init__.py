"""Frames to poses on an NVIDIA GPU: kernels, buffers, graphs."""
