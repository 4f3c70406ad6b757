"""TensorRT on NVIDIA GPUs: the half that builds engines; `hgedge.backends.tensorrt_rtx` builds with it too."""
