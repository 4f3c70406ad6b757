"""The loss against its formula in NumPy."""

import numpy as np
import torch
from scipy.special import log_softmax

from hgedge.training.loss import heatmap_loss


def arrays():
    random = np.random.default_rng(0)
    predicted = random.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    target = random.random((2, 4, 5, 6)).astype(np.float32)
    counts = np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)
    return predicted, target, counts


def test_equals_the_formula():
    predicted, target, counts = arrays()
    total = 0.0
    for n, k in zip(*np.nonzero(counts)):
        for stack in range(3):
            h, t = predicted[n, stack, k].astype(float), target[n, k].astype(float)
            squared = ((1 + 30 * t) * (h - t) ** 2).sum() / 31
            entropy = -(t / t.sum() * log_softmax(10 * h)).sum()
            total += squared + entropy
    loss = heatmap_loss(*map(torch.from_numpy, (predicted, target, counts)))
    np.testing.assert_allclose(loss.item(), total / counts.sum(), rtol=1e-5)


def test_without_weights_it_is_the_papers_squared_error():
    predicted, target, counts = arrays()
    loss = heatmap_loss(*map(torch.from_numpy, (predicted, target, counts)), peak_weight=0, location_weight=0)
    expected = (((predicted - target[:, None]) ** 2).sum(axis=(-2, -1)) * counts[:, None]).sum() / counts.sum()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)


def test_joints_that_do_not_count_have_no_gradient():
    predicted, target, counts = (torch.from_numpy(array) for array in arrays())
    predicted.requires_grad_()
    heatmap_loss(predicted, target, counts).backward()
    assert not predicted.grad[0, :, 2].any() and predicted.grad[0, :, 0].any()


def test_nobody_labelled_is_zero():
    predicted, target, counts = (torch.from_numpy(array) for array in arrays())
    assert heatmap_loss(predicted, target * 0, counts & False).item() == 0
