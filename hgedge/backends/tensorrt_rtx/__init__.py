"""TensorRT-RTX on NVIDIA's desktop GPUs: engines are built without a GPU, and specialised where they are loaded."""
