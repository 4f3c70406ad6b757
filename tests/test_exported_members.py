"""What `__all__` promises is there, sorted; nothing else is promised."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import hgedge

PACKAGES = ["hgedge"] + [
    module.name for module in pkgutil.walk_packages(hgedge.__path__, "hgedge.") if module.ispkg
]  # fmt: skip


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_true(name: str) -> None:
    pytest.importorskip("torch")
    package = importlib.import_module(name)
    promised = list(getattr(package, "__all__", []))
    assert promised == sorted(set(promised))
    for member in promised:
        assert getattr(package, member) is not None, f"{name}.{member}"


def test_the_door_shows_what_it_promises() -> None:
    assert set(hgedge.__all__) <= set(dir(hgedge))
    assert {"build", "load", "Pipeline", "Pose", "KeypointSet", "HgedgeError"} <= set(hgedge.__all__)


def test_every_error_is_promised() -> None:
    errors = importlib.import_module("hgedge.errors")
    tree = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert tree <= set(hgedge.__all__)
    assert all(issubclass(getattr(hgedge, name), hgedge.HgedgeError) for name in tree)


def test_lazy_names_are_the_ones_of_their_modules() -> None:
    from hgedge.pose import Pose
    from hgedge.runtime.pipeline import Pipeline, load

    assert (hgedge.Pose, hgedge.Pipeline, hgedge.load) == (Pose, Pipeline, load)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hgedge' has no attribute 'Poes'"):
        hgedge.Poes  # noqa: B018


def test_build_names_the_nearest_option() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(hgedge.ConfigError, match=r"unknown key 'placment'; did you mean 'placement'\?"):
        hgedge.build(placment="conv")


def test_the_version_has_one_source() -> None:
    from pathlib import Path

    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'path = "hgedge/__init__.py"' in project
    assert "\nversion =" not in project
    assert hgedge.__version__.count(".") == 2
