"""Learning rates against their formulas and against PyTorch's own plateau schedule."""

import math

import numpy as np
import pytest
import torch

from hgedge.training.schedule import best_of, drops, learning_rate


def test_the_cosine_warms_up_and_falls_to_a_hundredth(small, tmp_path):
    plain = small(tmp_path, warmup=0.1)
    assert learning_rate(plain, 0.05, []) == pytest.approx(2.5e-3)
    assert learning_rate(plain, 0.1, []) == pytest.approx(5e-3)
    assert learning_rate(plain, 0.55, []) == pytest.approx(5e-3 * (0.01 + 0.99 / 2))
    assert learning_rate(plain, 1.0, []) == pytest.approx(5e-5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("patience", [1, 3])
def test_the_plateau_is_pytorchs(small, tmp_path, seed, patience):
    """PyTorch drops one epoch later, when its count exceeds the patience."""
    scores = np.random.default_rng(seed).normal(np.log(np.arange(1, 41)), 0.5).tolist()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.2, patience=patience - 1, threshold=0.0, eps=0.0
    )
    config = small(tmp_path, schedule="plateau", patience=patience, warmup=0.0, learning_rate=1.0)
    for epoch, score in enumerate(scores):
        reference.step(score)
        assert learning_rate(config, 0.5, scores[: epoch + 1]) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert drops(scores, patience) > 0


def test_the_best_is_the_first_of_equals():
    assert best_of([1.0, 3.0, 2.0, 3.0]) == 1
    assert best_of([-math.inf, -math.inf]) == 0
