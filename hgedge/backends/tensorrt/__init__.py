"""TensorRT on NVIDIA GPUs; `hgedge.backends.tensorrt_rtx` builds and runs with it too."""
