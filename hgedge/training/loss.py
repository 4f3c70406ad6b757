"""What training minimises.

For each labelled joint with target map t and predicted map h, after every stack:

    sum over cells of (1 + w t) (h - t)^2      keeps h in the target's range; w > 0 as a map is almost empty
  + c * CE(softmax(beta h), t / sum t)         moves the highest cell to the right place

averaged over the labelled joints of the batch and summed over stacks (intermediate supervision). With w = c = 0 this
is the paper's squared error up to a constant factor.
"""

from __future__ import annotations

import torch
from torch import Tensor


def heatmap_loss(
    predicted: Tensor,
    target: Tensor,
    counts: Tensor,
    peak_weight: float = 30.0,
    location_weight: float = 1.0,
    beta: float = 10.0,
) -> Tensor:
    """Weighted squared error plus spatial cross entropy.

    Args:
        predicted: (N, S, K, h, w), one prediction a stack.
        target: (N, K, h, w) in [0, 1].
        counts: (N, K) bool, joints that count.
        peak_weight: w above.
        location_weight: c above.
        beta: Sharpness of the softmax over cells.

    Returns:
        Scalar float32.
    """
    predicted = predicted.float()
    goal = target[:, None]
    squared = ((1 + peak_weight * goal) * (predicted - goal) ** 2).sum(dim=(-2, -1))
    total = squared / (1 + peak_weight)
    if location_weight:
        share = goal.flatten(-2) / goal.flatten(-2).sum(dim=-1, keepdim=True).clamp_min(1e-6)
        logs = torch.log_softmax(beta * predicted.flatten(-2), dim=-1)
        total = total - location_weight * (share * logs).sum(dim=-1)
    weights = counts[:, None].to(total.dtype)
    return (total * weights).sum() / weights.sum().clamp_min(1)
