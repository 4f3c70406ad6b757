"""`hgedge build`, `inspect` and `export`, by the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_json_is_the_contracts(built) -> None:
    done, folder = built
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) >= {"bundle", "precision", "backend", "seconds", "num_convs", "num_convs_int8", "agreement"}
    assert set(document["seconds"]) == {"export", "calibrate", "quantize", "build", "total"}
    assert set(document["agreement"]) == {"mean_px", "p99_px"}
    assert (document["precision"], document["backend"], document["num_convs_int8"]) == ("fp32", "openvino", 0)
    assert Path(document["bundle"]) == Path("engines/tiny-fp32-openvino")
    assert (folder / document["bundle"] / "manifest.json").is_file()
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr


def test_a_second_build_is_the_first_one_and_tells_what_to_do_next(hgedge, bundle: Path, tiny_checkpoint: Path) -> None:
    done = hgedge("build", tiny_checkpoint, "--precision", "fp32", cwd=bundle.parents[1])
    assert done.returncode == 0, done.stderr
    assert "0, it was built before" in done.stdout
    assert "not accuracy" in done.stdout
    assert "hgedge run --source video.mp4 --engine engines/tiny-fp32-openvino" in done.stdout


def test_a_bundle_that_decodes_with_dark(hgedge, bundle: Path, tmp_path: Path) -> None:
    """Built from a bundle, verified, shown, and built from again."""
    done = hgedge("build", bundle, "--precision", "fp32", "--refinement", "dark", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["bundle"]
    assert made == "engines/tiny-fp32-openvino-dark"
    verified = hgedge("verify", made)
    assert verified.returncode == 0 and verified.stdout.endswith("all agree\n")
    assert "stride 4, DARK, centers" in hgedge("inspect", made).stdout
    again = hgedge("build", made, "--precision", "fp32", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["reused"] is True


def test_another_bundle_of_the_same_name_is_refused(
    hgedge, bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in bundle.parent.iterdir())
    other = tmp_path / "tiny.safetensors"
    pytest.importorskip("torch")
    from hgedge.checkpoints import load_checkpoint, save_checkpoint

    checkpoint = load_checkpoint(tiny_checkpoint)
    checkpoint.net.outs[0].bias.data += 1
    save_checkpoint(
        other, checkpoint.net, name="tiny", input=checkpoint.input, keypoints=checkpoint.keypoints, half=False
    )
    done = hgedge("build", other, "--precision", "fp32", "-q", cwd=bundle.parents[1])
    assert done.returncode == 2 and "--force" in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in bundle.parent.iterdir()) == before


def test_inspect(hgedge, bundle: Path) -> None:
    document = json.loads(hgedge("inspect", bundle, "--json").stdout)
    assert document["precision"] == "fp32" and document["model"]["name"] == "tiny"
    assert document["bytes"]["model.onnx"] == (bundle / "model.onnx").stat().st_size
    people = hgedge("inspect", bundle)
    assert people.returncode == 0 and "fp32" in people.stdout


def test_export(hgedge, tiny_checkpoint: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    done = hgedge("export", tiny_checkpoint, "-o", "tiny.onnx", "--num-stacks", "1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["onnx"], document["num_stacks"], document["input"]["hw"]) == ("tiny.onnx", 1, [64, 64])
    graph = onnx.load(tmp_path / "tiny.onnx").graph
    assert [graph.input[0].name, graph.output[0].name] == ["image", "heatmaps"]
