"""Every recipe in engines/ and calibration/ is one that the program takes."""

from pathlib import Path

import pytest

from hgedge import backends, records
from hgedge.builder import BuildOptions
from hgedge.builder.calibration import CalibrationRecipe
from hgedge.quantization.ranges import METHODS, MIN_IMAGES

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "engines").glob("*.toml")), ids=lambda path: path.stem)
def test_engines(path):
    recipe = records.from_toml(BuildOptions, path)
    assert backends.choose(recipe.backend) in backends.BACKENDS


@pytest.mark.parametrize("path", sorted((ROOT / "calibration").glob("*.toml")), ids=lambda path: path.stem)
def test_calibration(path):
    recipe = records.from_toml(CalibrationRecipe, path)
    assert recipe.images >= MIN_IMAGES and recipe.method in METHODS


def test_there_are_some():
    assert list((ROOT / "engines").glob("*.toml")) and list((ROOT / "calibration").glob("*.toml"))


def test_the_default_models_training():
    from hgedge.training.config import TrainingConfig

    run = records.from_toml(TrainingConfig, ROOT / "hgedge" / "models" / "default" / "training.toml")
    assert [phase.input_size for phase in run.phases] == [128, 192]
    assert run.model.num_features == 128
