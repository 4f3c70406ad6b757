"""What training minimises.

For each labelled joint with target map t and predicted map h, after every stack:

    sum over cells of (1 + w t) (h - t)^2      keeps h in the target's range; w > 0 as a map is almost empty
  + c * CE(softmax(beta h), t / sum t)         moves the highest cell to the right place

averaged over the labelled joints of the batch and summed over stacks (intermediate supervision). With w = c = 0 this
is the paper's squared error up to a constant factor. Maps of a teacher may be negative: where t weighs or is a share,
max(t, 0) stands for it.
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
    total: Tensor | None = None,
) -> Tensor:
    """Weighted squared error plus spatial cross entropy.

    Args:
        predicted: (N, S, K, h, w), one prediction a stack.
        target: (N, K, h, w), in [0, 1] if drawn.
        counts: (N, K) bool, joints that count.
        peak_weight: w above.
        location_weight: c above.
        beta: Sharpness of the softmax over cells.
        total: Joints to average over, where these are only a part of the batch; `counts`' own by default.

    Returns:
        Scalar float32.
    """
    predicted = predicted.float()
    goal = target[:, None]
    height = goal.clamp_min(0)
    squared = ((1 + peak_weight * height) * (predicted - goal) ** 2).sum(dim=(-2, -1))
    each = squared / (1 + peak_weight)
    if location_weight:
        share = height.flatten(-2) / height.flatten(-2).sum(dim=-1, keepdim=True).clamp_min(1e-6)
        logs = torch.log_softmax(beta * predicted.flatten(-2), dim=-1)
        each = each - location_weight * (share * logs).sum(dim=-1)
    weights = counts[:, None].to(each.dtype)
    return (each * weights).sum() / (weights.sum() if total is None else total).clamp_min(1)


def distillation_loss(
    predicted: Tensor,
    target: Tensor,
    taught: Tensor,
    counts: Tensor,
    teacher_weight: float,
    peak_weight: float = 30.0,
    location_weight: float = 1.0,
    total: Tensor | None = None,
) -> Tensor:
    """A mean of two losses: towards the labels' maps, and towards a teacher's.

    Args:
        predicted: As of `heatmap_loss`, and so are all that are not named here.
        target: The labels' maps.
        taught: (N, K, h, w), the teacher's.
        counts: Joints that count, for both.
        teacher_weight: The teacher's share, in [0, 1].
        peak_weight: For both.
        location_weight: For both.
        total: For both.

    Returns:
        Scalar float32.

    Source: Zhang, Zhu and Ye, "Fast Human Pose Estimation", CVPR 2019.
    """
    weights = {"peak_weight": peak_weight, "location_weight": location_weight, "total": total}
    labels = heatmap_loss(predicted, target, counts, **weights)  # type: ignore[arg-type]
    teacher = heatmap_loss(predicted, taught.float(), counts, **weights)  # type: ignore[arg-type]
    return (1 - teacher_weight) * labels + teacher_weight * teacher
