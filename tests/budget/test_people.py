"""Halves that share nobody and nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hgedge.datasets
from hgedge.budget.people import check_keypoints, data_digest, halves_of
from hgedge.datasets import Dataset, Person
from hgedge.datasets.keypoint_sets import FACE15, LSP14
from hgedge.errors import ConfigError
from hgedge.evaluation.labels import labels_of
from hgedge.spec import InputSpec

KEYPOINTS = np.random.default_rng(0).uniform(10, 90, (14, 2))


def made(pictures, names, folder="here"):
    people = tuple(
        Person(Path(folder) / picture, KEYPOINTS, np.ones(14, bool), np.array([0.0, 0, 100, 100]), name=name)
        for picture, name in zip(pictures, names)
    )
    dataset = Dataset("made", "val", LSP14, people)
    return dataset, labels_of(dataset, np.arange(len(people)))


def test_a_picture_or_a_name_is_never_in_both():
    random = np.random.default_rng(1)
    pictures = [f"{number}.jpg" for number in random.integers(0, 120, 300)]
    names = [
        f"person {number}" if number < 40 else f"own {place}"
        for place, number in enumerate(random.integers(0, 300, 300))
    ]
    dataset, labels = made(pictures, names)
    search, confirm = halves_of(dataset, labels)
    for values in (np.array(pictures), np.array(names)):
        assert not set(values[search.labels.indices]) & set(values[confirm.labels.indices])
    assert sorted([*search.labels.indices, *confirm.labels.indices]) == list(range(300))
    assert abs(len(search) - len(confirm)) <= 30


def test_single_people_are_halved_evenly_and_the_same_wherever_they_lie():
    pictures = [f"{number}.jpg" for number in range(101)]
    here, there = (halves_of(*made(pictures, [""] * 101, folder))[0] for folder in ("here", "there"))
    np.testing.assert_array_equal(here.labels.indices, there.labels.indices)
    assert len(here) in (50, 51)
    assert 15 <= (here.labels.indices < 50).sum() <= 35, "the order of the data set decides"


def test_people_in_one_picture_cannot_be_halved():
    with pytest.raises(ConfigError, match="must have people in two pictures or more, .* but its 3 share one"):
        halves_of(*made(["a.jpg"] * 3, ["x", "y", "z"]))


def test_other_keypoints_are_refused():
    dataset, _ = made(["a.jpg"], ["a"])
    with pytest.raises(
        ConfigError, match="labelled with the 14 keypoints 'lsp14', but net predicts the 15 of 'face15'"
    ):
        check_keypoints(dataset, FACE15, "net")
    check_keypoints(dataset, LSP14, "net")


def test_the_digest_tells_pictures_and_labels_apart():
    dataset = hgedge.datasets.open("figures:20", "val")
    labels = labels_of(dataset, np.arange(4))
    digest = data_digest(labels, dataset)
    assert digest == data_digest(labels, hgedge.datasets.open("figures:20", "val"))
    assert digest != data_digest(labels_of(dataset, np.arange(3)), dataset)
    dataset.people[1].keypoints[0, 0] += 1
    assert digest != data_digest(labels, dataset)


def test_crops_are_those_of_an_evaluation(subject, lab, halves, faces):
    """Cut once, they give what `hgedge evaluate` finds crop by crop."""
    from hgedge.budget.candidate import FP32
    from hgedge.budget.lab import engine
    from hgedge.evaluation.evaluate import predict
    from hgedge.runtime.pipeline import Pipeline

    half = halves[0]
    with engine(subject, FP32) as session:
        pipeline = Pipeline(session, subject.manifest.input, subject.manifest.keypoints, subject.manifest.decode)
        expected = predict(pipeline, half.dataset, half.labels.indices[:5])
    ours = lab._look(lab._session(FP32), half).predictions.keypoints[:5]
    np.testing.assert_allclose(ours, expected.keypoints, atol=1e-4)  # poses are float32


def test_crops_in_one_based_pixels():
    dataset, _ = made(["a.jpg"], ["a"])
    person = dataset.people[0]
    pixels = np.random.default_rng(2).integers(0, 255, (100, 100, 3), np.uint8)
    shifted = Person(person.image, KEYPOINTS + 1, person.labelled, person.box_xyxy + 1, pixels=pixels)
    plain = Person(person.image, KEYPOINTS, person.labelled, person.box_xyxy, pixels=pixels)
    from hgedge.budget.people import everybody

    sets = [Dataset("made", "val", LSP14, (each,), origin) for each, origin in ((plain, 0.0), (shifted, 1.0))]
    found = [everybody(each, labels_of(each, np.arange(1))).crops(InputSpec((64, 64))) for each in sets]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1][0] + [[0, 0, 1], [0, 0, 1]], found[1][1][0])
