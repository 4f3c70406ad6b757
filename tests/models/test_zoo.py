"""Names of networks and the files that come with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hgedge.models
from hgedge.errors import ConfigError
from hgedge.models import config_of, shipped_ranges, shipped_weights, zoo, zoo_names
from hgedge.models.hourglass import HourglassConfig


def test_names_begin_with_the_default():
    assert zoo_names()[0] == "default"
    assert set(zoo_names()) >= {"hg1", "hg2", "hg8"}


@pytest.mark.parametrize("num_stacks", [1, 2, 8])
def test_published_sizes(num_stacks):
    expected = HourglassConfig(num_stacks=num_stacks, num_blocks=1, num_features=256, depth=4, num_keypoints=16)
    assert config_of(f"hg{num_stacks}") == expected


@pytest.mark.parametrize(
    ("function", "file"), [(shipped_weights, "weights.safetensors"), (shipped_ranges, "portable/calibration.json")]
)
def test_shipped_files_are_found_where_they_are(tmp_path, monkeypatch, function, file):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    for name in ("default", "other"):
        (tmp_path / name / "portable").mkdir(parents=True)
    assert function("default") is None
    for name in ("default", "other"):
        (tmp_path / name / file).touch()
    assert function("default") == tmp_path / "default" / file
    assert function("hg8") is None
    assert function("other") is None
    assert function(str(tmp_path / "default")) is None  # a path is no name


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ConfigError, match="unknown model 'hg3'; known: default, face68, hg1, hg2, hg8"):
        config_of("hg3")


def test_public_names_exist():
    assert all(hasattr(hgedge.models, name) for name in hgedge.models.__all__)
    assert list(hgedge.models.__all__) == sorted(hgedge.models.__all__)


def test_names_and_files_need_no_torch():
    program = "import sys, hgedge.models as m; m.shipped_weights('default'); sys.exit('torch' in sys.modules)"
    root = Path(hgedge.models.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
