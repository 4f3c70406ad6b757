"""Data sets as calibration pictures, those in one file too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import hgedge.datasets
from hgedge.builder.calibration import CalibrationSet, find, from_dataset
from hgedge.builder.options import BuildOptions
from hgedge.builder.pictures import Pictures
from hgedge.errors import ConfigError
from hgedge.geometry import frame_from_input
from hgedge.progress import no_progress
from hgedge.runtime.preprocess import reference_crop
from hgedge.spec import InputSpec

GRID = 4.0  # of 255: OpenCV samples at 1/32 pixel and rounds to whole values, on soft drawings and faces


@pytest.fixture(scope="module")
def faces(shared_data):
    return hgedge.datasets.open(shared_data / "faces", "train15")


@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_pictures_in_one_file_are_cropped_as_their_data_set_says(shared_data, faces, color, channels):
    spec = InputSpec((64, 64), color, (0.0,) * channels, (1.0,) * channels)
    chosen = from_dataset(shared_data / "faces", faces, 32)
    pictures = Pictures(chosen, spec, no_progress)
    crops = list(pictures)
    assert pictures.used == 32 and pictures.unreadable == 0
    first = faces.people[0]
    expected = reference_crop(first.read(), frame_from_input(first.box_xyxy, (64, 64)), (64, 64))
    assert crops[0].shape == (channels, 64, 64)
    assert np.abs(255 * crops[0][0] - expected[..., 0]).max() <= GRID


def test_digest_tells_pixels_boxes_and_method_apart(faces):
    person = faces.people[0]
    pixels = person.pixels.copy()
    pixels[50, 50] ^= 1
    sets = [
        CalibrationSet(person.image, pictures, method)
        for pictures, method in [
            ((person,), "minmax"),
            ((person,), "mean-minmax"),
            ((dataclasses.replace(person, pixels=pixels),), "minmax"),
            ((dataclasses.replace(person, box_xyxy=person.box_xyxy + 1),), "minmax"),
            ((dataclasses.replace(person, pixels=person.pixels.reshape(48, 192)),), "minmax"),
        ]
    ]
    assert len({chosen.digest() for chosen in sets}) == len(sets)
    again = dataclasses.replace(person, pixels=np.asfortranarray(person.pixels))
    assert CalibrationSet(person.image, (again,), "minmax").digest() == sets[0].digest()


@pytest.mark.parametrize(("folder", "split"), [("lspet", "train"), ("faces", "train"), ("coco_mini", "all")])
def test_a_folder_that_is_a_data_set_gives_people_of_its_training_split(shared_data, folder, split):
    root = shared_data / folder
    options = BuildOptions(precision="int8", calibration=root, calibration_images=40)
    people = hgedge.datasets.open(root, split).people
    chosen = find(options, None)
    assert len(chosen.pictures) == 40 and chosen.pictures[0].name == people[0].name
    assert chosen.pictures[-1].box_xyxy.tolist() == people[-1].box_xyxy.tolist()


def test_a_data_set_without_a_training_split_is_refused(shared_data):
    options = BuildOptions(precision="int8", calibration=shared_data / "mpii_val")
    with pytest.raises(ConfigError, match="has no split 'train'; it has: val"):
        find(options, None)
