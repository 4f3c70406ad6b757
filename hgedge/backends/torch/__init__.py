"""PyTorch, eager: the baseline that engines are measured against."""
