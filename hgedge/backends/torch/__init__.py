"""PyTorch: the baseline that engines are measured against, and an engine for any NVIDIA GPU."""
