"""Every recipe in engines/ and calibration/ is one that the program takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from hgedge import backends, records
from hgedge.builder import BuildOptions, options_of
from hgedge.builder.build import bundle_name
from hgedge.builder.calibration import CalibrationRecipe
from hgedge.builder.network import network_of
from hgedge.quantization.ranges import METHODS, MIN_IMAGES

ROOT = Path(__file__).resolve().parents[1]
ENGINES = sorted((ROOT / "engines").glob("*.toml"))


@pytest.mark.parametrize("path", ENGINES, ids=lambda path: path.stem)
def test_engines(path):
    recipe = records.from_toml(BuildOptions, path)
    options = options_of({"model": str(path)})
    assert options == recipe and options.engine and options.backend in backends.BACKENDS  # not auto: one target
    assert path.stem.endswith(f"-{options.precision}")
    name = bundle_name(options, network_of(options), options.backend)
    assert name.startswith(f"{recipe.model}-{recipe.precision}-{recipe.backend}")
    asked = {"precision": "int8", "batch": (1,)}  # though both are what is built by default
    assert options_of({"model": str(path), **asked}) == replace(recipe, **asked)


def test_every_engine_recipe_is_in_the_table():
    table = (ROOT / "engines" / "README.md").read_text(encoding="utf-8")
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == {path.stem for path in ENGINES}


@pytest.mark.parametrize("path", sorted((ROOT / "calibration").glob("*.toml")), ids=lambda path: path.stem)
def test_calibration(path):
    recipe = records.from_toml(CalibrationRecipe, path)
    assert recipe.images >= MIN_IMAGES and recipe.method in METHODS


def test_there_are_some():
    assert ENGINES and list((ROOT / "calibration").glob("*.toml"))


def test_the_default_models_training():
    from hgedge.training.config import TrainingConfig

    run = records.from_toml(TrainingConfig, ROOT / "hgedge" / "models" / "default" / "training.toml")
    assert [phase.input_size for phase in run.phases] == [128, 192]
    assert run.model.num_features == 128
