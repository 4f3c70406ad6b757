"""The optimiser that a config names."""

from __future__ import annotations

import torch
from torch import nn

from hgedge.training.config import TrainingConfig


def optimiser(config: TrainingConfig, net: nn.Module) -> torch.optim.Optimizer:
    """AdamW, or RMSprop as the paper and Torch 7 have it; weights decay, biases and BatchNorm do not."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=config.learning_rate, alpha=0.99)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
