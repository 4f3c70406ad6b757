"""Batches: the same whatever the memory and the threads, and what the runtime would cut."""

import threading

import cv2
import numpy as np
import pytest
import torch

import hgedge.datasets
from hgedge.datasets import Person
from hgedge.errors import SourceError
from hgedge.runtime.preprocess import crop, normalise
from hgedge.spec import InputSpec
from hgedge.training.data import Ahead, Pictures, labels_digest, network_input
from hgedge.training.score import Validation

SPECS = [
    InputSpec((32, 48), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    InputSpec((32, 48), "bgr", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
    InputSpec((32, 48), "gray", (0.45,), (0.226,)),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.color)
def test_the_network_gets_what_the_runtime_gives_it(spec):
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 48, spec.channels), dtype=np.uint8)
    ours = network_input(torch.from_numpy(crops), spec)
    np.testing.assert_array_equal(ours.numpy(), normalise(crops, spec))
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_people_are_scored_in_the_runtimes_crops(figures, color):
    dataset = hgedge.datasets.open(figures, "val")
    spec = InputSpec((64, 64), color, *(((0.5,), (0.5,)) if color == "gray" else ((0.5,) * 3, (0.5,) * 3)))
    validation = Validation(dataset, Pictures(color == "gray", 1e9), 1)
    for index, person in enumerate(dataset.people):
        expected = np.empty((64, 64, spec.channels), np.uint8)
        crop(person.read(), validation.affine(index, spec), expected)
        np.testing.assert_array_equal(validation.crop(index, spec), expected)


def people(folder, count):
    """People in 100 x 100 pictures of one colour each."""
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((100, 100, 3), 10 * index, np.uint8))
    points = np.zeros((1, 2))
    return [Person(folder / f"{index}.png", points, np.ones(1, bool), np.arange(4.0)) for index in range(count)]


@pytest.mark.parametrize(("gray", "fitting"), [(False, 2), (True, 6)])
def test_pictures_are_kept_while_there_is_room(tmp_path, gray, fitting):
    """Those that are kept can be read when their files are gone."""
    chosen = people(tmp_path, 8)
    pictures = Pictures(gray, 65_000)
    for _ in range(2):
        for index, person in enumerate(chosen):
            assert (pictures.read(person) == 10 * index).all()
            assert pictures.read(person).shape == (100, 100, 1 if gray else 3)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    for person in chosen[:fitting]:
        pictures.read(person)
    for person in chosen[fitting:]:
        with pytest.raises(SourceError):
            pictures.read(person)


def test_pixels_of_people_who_share_a_file_are_their_own(tmp_path):
    pictures = Pictures(True, 1e9)
    points, labelled = np.zeros((1, 2)), np.ones(1, bool)
    for value in (10, 20):
        for shape in ((4, 4), (4, 4, 3)):
            pixels = np.full(shape, value, np.uint8)
            person = Person(tmp_path / "all.npz", points, labelled, np.arange(4.0), pixels=pixels)
            assert pictures.read(person).shape == (4, 4, 1) and (pictures.read(person) == value).all()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order_is_kept(workers):
    """Later items are ready sooner here."""
    release = [threading.Event() for _ in range(40)]

    def work(item):
        if item % workers == 0 and workers > 1:
            release[item + 1].wait(10)
        release[item].set()
        return item

    ahead = Ahead(work, range(20), workers)
    assert list(ahead) == list(range(20))
    assert ahead.busy_s > 0


def test_no_more_than_a_few_are_made_ahead():
    made = []
    ahead = iter(Ahead(made.append, range(100), 2))
    next(ahead)
    ahead.close()
    assert 1 <= len(made) <= 6


def test_an_error_comes_out_where_it_is_read():
    ahead = iter(Ahead(lambda item: 1 // item, [2, 1, 0, 3], 2))
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_the_digest_tells_labels_apart(figures):
    train, val = (hgedge.datasets.open(figures, split) for split in ("train", "val"))
    assert labels_digest(train) == labels_digest(hgedge.datasets.open(figures, "train")) != labels_digest(val)
