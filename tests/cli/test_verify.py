"""`hgedge verify` by the program: a right bundle, one with a mistake, and machines that lack libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

STAGES = ["crop", "crop", "normalised input", "heatmaps", "heatmaps", "heatmaps", "keypoints", "keypoints", "keypoints"]


@pytest.fixture
def mistaken(bundle, tmp_path):
    """A copy whose manifest has lost the mean; it is whole, as the manifest alone has no hash."""
    copy = shutil.copytree(bundle, tmp_path / "engines" / "mistaken")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["input"]["mean"] = [0.0, 0.0, 0.0]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.fixture
def without(program_environment):
    """without(libraries, folder): the program where they cannot be imported, by Python's own mark for that."""

    def run(libraries, folder):
        marks = "".join(f"sys.modules[{library!r}] = None; " for library in libraries)
        code = f"import sys; {marks}from hgedge.cli.main import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "verify", folder, "--json"]
        return subprocess.run(command, env=program_environment, capture_output=True, text=True)

    return run


def test_a_right_bundle(hgedge, bundle):
    before = {path.name: path.stat().st_mtime_ns for path in bundle.iterdir()}
    done = hgedge("verify", bundle)
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split("  ")[0].strip() for line in done.stdout.splitlines()[2:] if line[0:1].isalpha()] == STAGES
    assert done.stdout.splitlines()[-1] == f"{bundle} (fp32, openvino): all agree"
    assert "…" not in done.stdout
    assert {path.name: path.stat().st_mtime_ns for path in bundle.iterdir()} == before


def test_a_mistake_is_named_and_ends_with_1(hgedge, mistaken):
    done = hgedge("verify", mistaken, "--json")
    assert done.returncode == 1 and done.stderr == ""
    document = json.loads(done.stdout)
    assert (document["bundle"], document["precision"], document["backend"]) == (str(mistaken), "fp32", "openvino")
    assert document["ok"] is False and [stage["stage"] for stage in document["stages"]] == STAGES
    (mistake,) = document["mistakes"]
    assert mistake["name"] == "mean-missing" and mistake["where"].startswith("manifest.json")
    assert mistake["after"] < 1e-3 < mistake["before"]
    (wrong,) = [stage for stage in document["stages"] if stage["ok"] is False]
    assert wrong["stage"] == "normalised input" and wrong["value"] == mistake["before"] > wrong["limit"]
    text = " ".join(hgedge("verify", mistaken).stdout.split())
    assert "mean-missing in manifest.json" in text and "explains it" in text and "hgedge build MODEL --force" in text
    assert "all agree" not in text


def test_help_has_an_example_and_says_what_it_cannot_tell(hgedge):
    text = " ".join(hgedge("verify", "--help").stdout.split())
    assert "Example: hgedge verify engines/default-int8-openvino" in text
    assert "only labelled pictures show it: hgedge evaluate" in text


def test_without_onnx_runtime_openvino_runs_the_graphs(without, bundle):
    done = without(["onnxruntime", "onnx"], bundle)
    assert done.returncode == 0, done.stderr
    assert [stage["ok"] for stage in json.loads(done.stdout)["stages"]].count(None) == 1  # agreement, only told


def test_without_opencv_crops_are_not_compared(without, bundle):
    done = without(["cv2"], bundle)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert "pip install 'hgedge[video]'" in document["stages"][0]["note"] and document["stages"][0]["ok"] is None


def test_without_its_backend(without, bundle):
    done = without(["openvino"], bundle)
    assert done.returncode == 3 and done.stdout == "" and "pip install 'hgedge[openvino]'" in done.stderr
