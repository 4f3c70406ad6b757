"""What calibration pictures are asked for, chosen and refused."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

import hgedge.datasets
from hgedge.builder import BuildOptions
from hgedge.builder.calibration import CalibrationSet, find
from hgedge.builder.pictures import Pictures, shows_something
from hgedge.builder.selection import chosen, covering, features, spread
from hgedge.errors import ConfigError, QuantizationError
from hgedge.progress import no_progress
from hgedge.spec import InputSpec

SPEC = InputSpec((64, 64))
WANTED = 32


@pytest.fixture(scope="module")
def people(shared_data):
    return hgedge.datasets.open(shared_data / "lspet", "train").people[:200]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """recipe(text) -> the file of a calibration recipe."""

    def write(text):
        path = tmp_path_factory.mktemp("recipes") / "r.toml"
        path.write_text(text)
        return path

    return write


def farthest(points, found):
    """The distance of the point that the chosen ones cover least."""
    distances = np.linalg.norm(points[:, None] - points[found], axis=-1)
    return distances.min(axis=1).max()


def test_covering_covers_more_than_spread(people):
    points = features(people)
    taken, spaced = covering(points, WANTED, 0), spread(len(people), WANTED)
    assert len(set(taken)) == WANTED and taken == sorted(taken)
    assert farthest(points, taken) < 0.9 * farthest(points, spaced)
    # of each number too, on the whole: its extent, in standard deviations
    assert np.ptp(points[taken], axis=0).mean() > np.ptp(points[spaced], axis=0).mean()


def test_covering_is_drawn_by_its_seed_alone(people):
    assert chosen(people[:60], WANTED, "covering", 3) == chosen(people[:60], WANTED, "covering", 3)
    assert chosen(people[:60], WANTED, "covering", 3) != chosen(people[:60], WANTED, "covering", 4)
    assert chosen(people[:60], WANTED, "spread", 3) == spread(60, WANTED)


def test_covering_takes_as_many_as_asked_of_pictures_that_are_all_the_same():
    assert covering(np.zeros((7, 3)), 5, 0) == sorted(set(covering(np.zeros((7, 3)), 5, 0)))
    assert len(covering(np.zeros((7, 3)), 7, 0)) == 7


def test_features_weigh_groups_alike_and_cut_freaks(people):
    points = features(people[:50])
    assert np.isfinite(points).all() and np.abs(points).max() <= 2
    assert np.abs(points.mean(axis=0)).max() < 0.5


def test_covering_of_a_plain_folder(picture_folder, recipe, tmp_path):
    files = sorted(picture_folder.iterdir())
    for index, file in enumerate(files):
        shutil.copy(file, tmp_path / f"{index:02}.jpg")
    black = np.zeros((300, 90, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "20-odd.png"), black)
    (tmp_path / "30-broken.jpg").write_bytes(files[0].read_bytes()[:999])
    text = f'dataset = "pictures"\nselection = "covering"\nimages = {WANTED}\nseed = 1'
    found = find(BuildOptions(calibration=recipe(text), data=tmp_path), None)
    assert len(found.pictures) == WANTED and tmp_path / "20-odd.png" in found.pictures
    assert found.digest() == find(BuildOptions(calibration=recipe(text), data=tmp_path), None).digest()


def test_a_method_may_be_asked_for_and_overrules_a_recipes(shared_data, recipe, picture_folder):
    path, data = recipe('dataset = "lspet"\nimages = 32\nmethod = "percentile-99.9"'), shared_data / "lspet"
    own = find(BuildOptions(calibration=path, data=data), None)
    asked = find(BuildOptions(calibration=path, data=data, calibration_method="percentile"), None)
    folder = find(BuildOptions(calibration=picture_folder, calibration_method="mse"), None)
    assert [each.method for each in (own, asked, folder)] == ["percentile-99.9", "percentile-99.99", "mse"]
    assert own.pictures_digest() == asked.pictures_digest() and own.digest() != asked.digest()
    assert own.kept == asked.kept  # one run of the pictures serves both


def test_ranges_that_are_there_already_have_a_method(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    for options in (BuildOptions(calibration_method="mse"), BuildOptions(calibration=tmp_path / "t.json")):
        options = BuildOptions(calibration=options.calibration, calibration_method="mse")
        with pytest.raises(ConfigError, match=r"--calibration-method mse draws ranges from pictures, but .* holds"):
            find(options, None)
    with pytest.raises(ConfigError, match=r"no calibration method is called 'kl'"):
        BuildOptions(calibration_method="kl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('selection = "first"', r"r\.toml: selection must be one of spread, covering, but got 'first'"),
        ('method = "magic"', r"r\.toml: no calibration method is called 'magic'; choose one of"),
        ('method = "percentile-12"', r"r\.toml: the calibration method percentile-P takes a P of 50 to 100"),
        ("images = 0", r"images must be positive and seed not negative, but got 0 and 0"),
        ("seed = -1", r"images must be positive and seed not negative, but got 128 and -1"),
        ('split = "train"', r"calibration needs at least 32 pictures, but .* gives 0; add pictures"),
    ],
)
def test_recipes_that_cannot_be_followed(recipe, tmp_path, text, message):
    with pytest.raises((ConfigError, QuantizationError), match=message):
        find(BuildOptions(calibration=recipe(f'dataset = "pictures"\n{text}'), data=tmp_path), None)


def noise(seed, suffix, folder):
    path = folder / f"noise{seed}.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (80, 120, 3), np.uint8))
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_noise_is_no_picture(tmp_path, suffix):
    assert not shows_something(cv2.imread(str(noise(0, suffix, tmp_path))))


@pytest.mark.parametrize("picture", [np.zeros((40, 40, 3), np.uint8), np.full((1, 1, 3), 7, np.uint8)])
def test_one_colour_is_no_picture(picture):
    assert not shows_something(picture)


def test_photographs_faces_and_drawings_are_pictures(shared_data):
    files = [path for path in sorted(shared_data.rglob("*")) if path.suffix in (".jpg", ".png")]
    read = (cv2.imread(str(path)) for path in files[::40])
    faces = (person.read() for person in hgedge.datasets.open(shared_data / "faces", "train15").people[::20])
    drawn = (person.read() for person in hgedge.datasets.open("figures:5").people)
    assert all(shows_something(picture) for pictures in (read, faces, drawn) for picture in pictures)


def test_a_set_of_noise_is_refused_and_a_few_are_not(picture_folder, tmp_path):
    photographs = tuple(sorted(picture_folder.iterdir()))[:20]
    noises = tuple(noise(seed, "png", tmp_path) for seed in range(21))
    for number, allowed in ((20, True), (21, False)):
        pictures = Pictures(CalibrationSet(tmp_path, photographs + noises[:number]), SPEC, no_progress)
        assert sum(1 for _ in pictures) == pictures.used == 20 + number and pictures.meaningless == number
        if allowed:
            pictures.check_enough()
        else:
            with pytest.raises(QuantizationError, match=r"21 of 41 calibration pictures of .* are noise or of one"):
                pictures.check_enough()
