"""What `hgedge models` says is true: computed here from the networks themselves."""

from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import sys
import threading
from functools import partial
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
RELEASED_AS_HG1 = """
import sys
from hgedge.cli.main import main
from hgedge.models.zoo import RELEASED
RELEASED["hg1"] = sys.argv.pop(1)
if sys.argv[1] == "models":
    for name in ("torch", "onnx", "cv2", "openvino", "onnxruntime", "safetensors"):
        sys.modules[name] = None
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def nothing_pulled(tmp_path: Path, program_environment) -> dict[str, str]:
    """An environment whose cache is empty."""
    return program_environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def rows(tmp_path: Path, nothing_pulled) -> list[dict]:
    """`hgedge models --json`, where none of the heavy libraries can be imported."""
    command = [sys.executable, "-c", LEAN, "models", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=nothing_pulled, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["models"]


def test_all_models_with_their_sizes(rows: list[dict]) -> None:
    assert [row["name"] for row in rows] == list(zoo_names())
    for row in rows:
        assert {key: row[key] for key in SIZES[row["name"]]} == SIZES[row["name"]]
        assert len(keypoint_set(row["keypoints"]).names) == row["num_keypoints"]


def test_what_is_shipped(rows: list[dict]) -> None:
    shipped, others = [row for row in rows if row["shipped"]], [row for row in rows if not row["shipped"]]
    assert [row["name"] for row in shipped] == ["default", "face68"]
    for row in shipped:
        assert row["weights_bytes"] == shipped_weights(row["name"]).stat().st_size
        assert row["portable_bytes"] == sum(path.stat().st_size for path in shipped_half(row["name"]).iterdir())
    assert all(not row["shipped"] and row["weights_bytes"] is None and row["pulled"] is None for row in others)


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
        net(torch.empty(1, config.in_channels, height, width))
    folded = 2 * config.num_features * config.num_keypoints * (height // 4) * (width // 4) * (config.num_stacks - 1)
    return sum(parameter.numel() for parameter in net.parameters()), (macs - folded) / 1e9


@pytest.mark.parametrize("name", zoo_names())
def test_parameters_and_work_are_what_the_network_has(name: str) -> None:
    parameters, gmacs = counted(name)
    assert FACTS[name].parameters == parameters
    assert FACTS[name].gmacs == round(gmacs, 4)


@pytest.mark.parametrize("name", ["default", "face68"])
def test_a_shipped_one_is_what_its_bundle_says(name: str) -> None:
    manifest = json.loads((shipped_half(name) / "manifest.json").read_text())
    facts = FACTS[name]
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


def test_people_get_a_table(hgedge, nothing_pulled) -> None:
    done = hgedge("models", env=nothing_pulled)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0].split() == ["model", "stacks", "features", "keypoints", "input", "params", "GMAC", "weights"]
    assert lines[5].split() == ["hg8", "8", "256", "16", "mpii16", "256x256", "25.59", "M", "27.86", "not", "shipped"]
    assert max(len(line.rstrip()) for line in lines[:6]) <= 80


@pytest.fixture
def mirror(tmp_path: Path):
    """A folder that a web server of Python's own gives, and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def with_release(tmp_path: Path, program_environment):
    """Run the program as if this file had been released as hg1."""
    environment = program_environment | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NO_PROXY": "*"}

    def run(file: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RELEASED_AS_HG1, file, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_pulled_weights_are_found_from_then_on(tmp_path: Path, mirror, with_release) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
    from hgedge.checkpoints.key_maps import ANIBALI
    from hgedge.models.hourglass import HourglassConfig, HourglassNet

    net, (folder, url) = HourglassNet(HourglassConfig(num_stacks=1, num_features=8)), mirror
    theirs = ANIBALI.theirs(net.config)
    torch.save({theirs[name]: tensor for name, tensor in net.state_dict().items() if name in theirs}, folder / "new")
    content = (folder / "new").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    file = f"bearpaw_hg1-{digest[:8]}.pth"
    (folder / "new").rename(folder / file)

    before = with_release(file, "export", "hg1", "-o", "hg1.onnx")
    assert before.returncode == 2 and "pull them with: hgedge models pull hg1" in before.stderr
    done = with_release(file, "models", "pull", "hg1", "--from", url, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("hg1: weights from github.com/anibali/pytorch-stacked-hourglass, a repository under")
    path = tmp_path / "cache" / "hgedge" / "models" / file
    licence = done.stderr.splitlines()[0].removeprefix("hg1: ")
    expected = {"name": "hg1", "path": str(path), "bytes": len(content), "sha256": digest, "licence": licence}
    assert json.loads(done.stdout) == expected and path.read_bytes() == content

    rows = json.loads(with_release(file, "models", "--json").stdout)["models"]
    assert {row["name"]: row["pulled"] for row in rows if row["pulled"]} == {"hg1": str(path)}
    (line,) = (line for line in with_release(file, "models").stdout.splitlines() if line.startswith("hg1  "))
    assert line.split()[-1] == "pulled"
    after = with_release(file, "export", "hg1", "-o", "hg1.onnx")
    assert after.returncode == 0, after.stderr
    assert (tmp_path / "hg1.onnx").is_file()


def test_pulling_needs_no_heavy_library_and_says_where_the_file_is(tmp_path: Path, mirror, with_release) -> None:
    folder, url = mirror
    file = f"x-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    (folder / file).write_bytes(b"weights")
    done = with_release(file, "models", "pull", "hg1", "--from", url, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(tmp_path / "cache/hgedge/models" / file), "next: hgedge build hg1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pull", "hg3"), "'hg3' cannot be pulled; known: hg1, hg2, hg8"),
        (("pull", "default"), "'default' cannot be pulled; it comes with hgedge"),
        (("pull",), "hgedge models takes nothing, or pull and a model's name: hgedge models pull hg2"),
        (("push", "hg2"), "hgedge models takes nothing, or pull and a model's name"),
        (("--from", "http://a/"), "hgedge models takes nothing, or pull and a model's name"),
        (("pull", "hg1", "--from", "mirror"), "--from must be the http or https address of a folder, but got 'mirror'"),
        (("pull", "hg1", "hg2"), "see: hgedge models --help"),
    ],
)
def test_what_cannot_be_pulled(hgedge, arguments: tuple[str, ...], message: str) -> None:
    done = hgedge("models", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and message in done.stderr


def test_other_bytes_end_with_one_line(tmp_path: Path, mirror, with_release) -> None:
    folder, url = mirror
    (folder / "x-00000000.pth").write_bytes(b"weights")
    done = with_release("x-00000000.pth", "models", "pull", "hg1", "--from", url, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {url}x-00000000.pth gives another file: 7 bytes whose")
    missing = with_release("x-11111111.pth", "models", "pull", "hg1", "--from", url)
    assert missing.returncode == 2 and "the server answers 404 File not found for" in missing.stderr
    assert list((tmp_path / "cache/hgedge/models").iterdir()) == []
