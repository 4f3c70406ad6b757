"""Scores of engines and checkpoints on real labels."""

import numpy as np
import pytest

import hgedge.datasets
from hgedge.builder import BuildOptions, build
from hgedge.checkpoints.save import save_checkpoint
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.evaluate import evaluate, scores
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec


def test_perfect_predictions_score_100(shared_data):
    dataset = hgedge.datasets.open(shared_data / "lspet", "val")
    chosen = np.arange(len(dataset))
    document = scores(np.stack([person.keypoints for person in dataset.people]), dataset, chosen)
    assert set(document["metrics"].values()) == {100.0}
    assert {f"PCK@{t} {how}" for t in (0.05, 0.1, 0.2, 0.5) for how in ("mean", "pooled")} == set(document["metrics"])
    assert set(document["per_keypoint"]) == set(dataset.keypoint_set.names)
    assert document["num_people"] + document["num_left_out"] == len(dataset)


def test_a_bundle_scores_like_its_checkpoint(tiny_checkpoint, shared_data, tmp_path):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    bundle = build(BuildOptions(str(tiny_checkpoint), precision="fp32", backend="openvino", output=tmp_path)).bundle
    told = []
    one = evaluate(str(bundle), shared_data / "lspet", "val", 40, lambda *step: told.append(step))
    two = evaluate(str(tiny_checkpoint), shared_data / "lspet", "val", 40)
    assert one["num_keypoints"] == two["num_keypoints"] and told[-1] == ("evaluate", 40, 40)
    for name, value in one["metrics"].items():
        assert value == pytest.approx(two["metrics"][name], abs=0.5)  # a tie of two peaks may fall either way


def test_other_keypoints_are_refused(shared_data, tmp_path):
    net = HourglassNet(HourglassConfig(num_stacks=1, num_features=16, num_keypoints=16))
    path = tmp_path / "mpii.safetensors"
    save_checkpoint(path, net, name="mpii", input=InputSpec((64, 64)), keypoints=MPII16)
    with pytest.raises(ConfigError, match="is labelled with the keypoints 'lsp14', but .* predicts 'mpii16'"):
        evaluate(str(path), shared_data / "lspet")


def test_a_limit_must_be_positive(tiny_checkpoint, shared_data):
    with pytest.raises(ConfigError, match="limit must be positive, but got 0"):
        evaluate(str(tiny_checkpoint), shared_data / "lspet", limit=0)
