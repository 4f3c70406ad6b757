"""Learning from a teacher: the loss in NumPy, a teacher that stays as it is, and one that does not fit."""

import dataclasses

import numpy as np
import pytest
import torch

from hgedge.checkpoints import load_checkpoint, save_checkpoint
from hgedge.datasets.keypoint_sets import AIC14, LSP14
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.runtime.preprocess import normalise
from hgedge.spec import InputSpec
from hgedge.training.config import Phase
from hgedge.training.loop import train
from hgedge.training.loss import distillation_loss, heatmap_loss
from hgedge.training.teacher import Teacher

CPU = torch.device("cpu")
PLAIN = (0.5, 0.5, 0.5)


def maps():
    random = np.random.default_rng(1)
    predicted = random.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    target, taught = random.random((2, 4, 5, 6)).astype(np.float32), random.normal(size=(2, 4, 5, 6)).astype(np.float32)
    return predicted, target, taught, np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_half_to_the_labels_half_to_the_teacher(share):
    predicted, target, taught, counts = maps()
    total = 0.0
    for n, k in zip(*np.nonzero(counts)):
        for stack in range(3):
            h = predicted[n, stack, k].astype(float)
            total += (1 - share) * ((h - target[n, k]) ** 2).sum() + share * ((h - taught[n, k]) ** 2).sum()
    tensors = map(torch.from_numpy, (predicted, target, taught, counts))
    loss = distillation_loss(*tensors, share, peak_weight=0, location_weight=0)
    np.testing.assert_allclose(loss.item(), total / counts.sum(), rtol=1e-5)


def test_a_teacher_that_knows_the_labels_is_no_teacher():
    predicted, target, _, counts = map(torch.from_numpy, maps())
    loss = distillation_loss(predicted, target, target, counts, 0.5)
    np.testing.assert_allclose(loss.item(), heatmap_loss(predicted, target, counts).item(), rtol=1e-6)


def test_negative_maps_of_a_teacher_weigh_nothing_below_zero():
    """With (1 + 30 t) a cell at t = -0.1 would push the prediction away."""
    target = torch.full((1, 1, 4, 4), -0.1)
    predicted = torch.full((1, 1, 1, 4, 4), 0.4, requires_grad=True)
    heatmap_loss(predicted, target, torch.ones(1, 1, dtype=torch.bool)).backward()
    assert (predicted.grad > 0).all()


def write(path, keypoints=LSP14, color="rgb", **sizes):
    channels = 1 if color == "gray" else 3
    torch.manual_seed(3)
    config = HourglassConfig(
        **{"num_stacks": 2, "num_features": 16, "depth": 2, "num_keypoints": 14, "in_channels": channels, **sizes}
    )
    spec = InputSpec((64, 64), color, PLAIN[:channels], PLAIN[:channels])
    save_checkpoint(path, HourglassNet(config), name="teacher", input=spec, keypoints=keypoints)
    return str(path)


def test_it_predicts_as_the_checkpoint_does_and_learns_nothing(small, tmp_path):
    path = write(tmp_path / "t.safetensors")
    teacher = Teacher(path, small(tmp_path), LSP14, CPU)
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    checkpoint = load_checkpoint(path)
    with torch.no_grad():
        expected = checkpoint.net(torch.from_numpy(normalise(crops, checkpoint.input)))[:, -1]
    found = teacher(torch.from_numpy(crops))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not found.requires_grad and not teacher.net.training
    assert not any(parameter.requires_grad for parameter in teacher.net.parameters())


def test_a_student_comes_nearer_to_its_teacher(small, tmp_path):
    """Taught by maps alone, the student's maps approach the teacher's, whatever the labels are."""
    path = write(tmp_path / "t.safetensors", num_stacks=1)
    taught = small(tmp_path / "run", teacher=path, teacher_weight=1.0, phases=(Phase(0.0, 32, 0.0, 0.0),), epochs=6)
    train(taught)
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    maps = Teacher(path, taught, LSP14, CPU)(crops)
    student = Teacher(str(tmp_path / "run" / "last.safetensors"), taught, LSP14, CPU)(crops)
    torch.manual_seed(taught.seed)
    untaught = Teacher(write(tmp_path / "u.safetensors", num_features=20), taught, LSP14, CPU)(crops)
    assert (student - maps).square().mean() < 0.5 * (untaught - maps).square().mean()


def test_another_teacher_is_another_run(small, tmp_path):
    path = write(tmp_path / "t.safetensors")
    train(small(tmp_path / "run", teacher=path, epochs=1))
    write(tmp_path / "t.safetensors", num_features=20)
    with pytest.raises(CheckpointError, match="weights of the teacher was '.*' and is '"):
        train(small(tmp_path / "run", teacher=path, epochs=1))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"keypoints": AIC14}, "predicts the keypoints 'aic14', but the data set is labelled with 'lsp14'"),
        ({"color": "gray"}, "takes gray pictures, but color is rgb"),
        ({"depth": 4}, "needs input sizes that are multiples of 64, but a phase has 32"),
        ({"stem": "pointwise"}, r"maps \(.*stride=1.0.*\) do not lie over those of a network of stride 4"),
    ],
)
def test_a_teacher_that_does_not_fit(small, tmp_path, teacher, message):
    path = write(tmp_path / "t.safetensors", **teacher)
    with pytest.raises(ConfigError, match=message):
        train(small(tmp_path / "run", teacher=path))
    assert not (tmp_path / "run").exists()


def test_no_teacher_there(small, tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file: 'nowhere.pt'"):
        train(dataclasses.replace(small(tmp_path), teacher="nowhere.pt"))
