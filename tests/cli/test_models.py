"""What `hgedge models` says is true: computed here from the networks themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hgedge.datasets.keypoint_sets import keypoint_set
from hgedge.models import config_of, shipped_half, shipped_weights, zoo_names
from hgedge.models.zoo import FACTS, SIZES

POINTS = 0.05  # percent: scores are stated to one decimal
LEAN = """
import sys
for name in ("torch", "onnx", "cv2", "openvino", "onnxruntime", "safetensors"):
    sys.modules[name] = None
from hgedge.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def rows(tmp_path: Path, program_environment) -> list[dict]:
    """`hgedge models --json`, where none of the heavy libraries can be imported."""
    command = [sys.executable, "-c", LEAN, "models", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["models"]


def test_all_models_with_their_sizes(rows: list[dict]) -> None:
    assert [row["name"] for row in rows] == list(zoo_names())
    for row in rows:
        assert {key: row[key] for key in ("num_stacks", "num_features", "num_keypoints")} == SIZES[row["name"]]
        assert len(keypoint_set(row["keypoints"]).names) == row["num_keypoints"]


def test_what_is_shipped(rows: list[dict]) -> None:
    default, *others = rows
    assert default["shipped"] and default["weights_bytes"] == shipped_weights("default").stat().st_size
    assert default["portable_bytes"] == sum(path.stat().st_size for path in shipped_half("default").iterdir())
    assert all(not row["shipped"] and row["weights_bytes"] is None for row in others)


def counted(name: str) -> tuple[int, float]:
    """Parameters, and GMAC of one crop by hooks on each convolution.

    The exported graph lacks what the last stack does not need: the heads of the stacks before it, and the way of their
    heatmaps back into the features, both 1x1 and folded into one convolution that is there anyway.
    """
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
    from hgedge.models.hourglass import HourglassNet

    config, macs = config_of(name), 0

    def count(module, inputs, output) -> None:
        nonlocal macs
        macs += module.weight.numel() * output.shape[2] * output.shape[3]

    height, width = FACTS[name].input_hw
    with torch.device("meta"):
        net = HourglassNet(config).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(count)
        net(torch.empty(1, 3, height, width))
    folded = 2 * config.num_features * config.num_keypoints * (height // 4) * (width // 4) * (config.num_stacks - 1)
    return sum(parameter.numel() for parameter in net.parameters()), (macs - folded) / 1e9


@pytest.mark.parametrize("name", zoo_names())
def test_parameters_and_work_are_what_the_network_has(name: str) -> None:
    parameters, gmacs = counted(name)
    assert FACTS[name].parameters == parameters
    assert FACTS[name].gmacs == round(gmacs, 4)


def test_the_default_is_what_its_bundle_says() -> None:
    manifest = json.loads((shipped_half("default") / "manifest.json").read_text())
    facts = FACTS["default"]
    assert manifest["model"]["parameters"] == facts.parameters and manifest["model"]["gmacs"] == facts.gmacs
    assert tuple(manifest["input"]["hw"]) == facts.input_hw and manifest["keypoints"]["name"] == facts.keypoints


def test_the_defaults_scores_are_the_measured_ones(root: Path) -> None:
    measured = json.loads((root / "benchmarks/results/amd-epyc-2core/default-accuracy.json").read_text())
    metrics = measured["results"]["accuracy"]["torch fp32"]["metrics"]
    for metric, value in FACTS["default"].accuracy.items():
        assert abs(metrics[metric] - value) <= POINTS


def test_figures_of_others_name_their_source() -> None:
    assert FACTS["hg1"].accuracy is None  # nobody's figure is known
    assert all(facts.source for facts in FACTS.values() if facts.accuracy)


def test_people_get_a_table(hgedge) -> None:
    done = hgedge("models")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0].split() == ["model", "stacks", "features", "keypoints", "input", "params", "GMAC", "weights"]
    assert lines[4].split() == ["hg8", "8", "256", "16", "mpii16", "256x256", "25.59", "M", "27.86", "not", "shipped"]
    assert max(len(line.rstrip()) for line in lines[:5]) <= 80


def test_there_is_nothing_to_pull_yet(hgedge) -> None:
    done = hgedge("models", "pull", "hg2")
    assert done.returncode == 2 and "see: hgedge models --help" in done.stderr
