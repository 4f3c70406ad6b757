"""Scores of engines and checkpoints on real labels."""

from dataclasses import replace

import numpy as np
import pytest

import hgedge.datasets
from hgedge.checkpoints.save import save_checkpoint
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.evaluate import evaluate, pipeline_of, predict
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import report
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec


def test_perfect_predictions_score_100(lspet_labels):
    document = report(Predictions(lspet_labels.keypoints, np.ones(len(lspet_labels))), lspet_labels)
    assert set(document["metrics"].values()) == {100.0}
    names = {f"PCK@{t} {how}" for t in (0.05, 0.1, 0.2, 0.5) for how in ("mean", "pooled")}
    assert names < set(document["metrics"]) and "PCK-AUC@0.5 pooled" in document["metrics"]
    assert set(document["per_keypoint"]) == set(lspet_labels.keypoint_set.names)
    assert document["num_people"] + document["num_left_out"] == len(lspet_labels)
    assert document["families"].keys() == {"PCK"}


def test_a_bundle_scores_like_its_checkpoint(tiny_checkpoint, tiny_bundle, shared_data):
    told = []
    one = evaluate(str(tiny_bundle), shared_data / "lspet", "val", 40, lambda *step: told.append(step))
    two = evaluate(str(tiny_checkpoint), shared_data / "lspet", "val", 40)
    assert one["num_keypoints"] == two["num_keypoints"] and told[-1] == ("evaluate", 40, 40)
    for name, value in one["metrics"].items():
        assert value == pytest.approx(two["metrics"][name], abs=0.5)  # a tie of two peaks may fall either way


def test_other_keypoints_are_refused(shared_data, tmp_path):
    net = HourglassNet(HourglassConfig(num_stacks=1, num_features=16, num_keypoints=16))
    path = tmp_path / "mpii.safetensors"
    save_checkpoint(path, net, name="mpii", input=InputSpec((64, 64)), keypoints=MPII16)
    with pytest.raises(ConfigError, match="lspet is labelled with the keypoints 'lsp14', but .* predicts 'mpii16'"):
        evaluate(str(path), shared_data / "lspet")


def test_a_limit_must_be_positive(tiny_checkpoint, shared_data):
    with pytest.raises(ConfigError, match="limit must be positive, but got 0"):
        evaluate(str(tiny_checkpoint), shared_data / "lspet", limit=0)


def test_labels_that_count_pixels_from_one_are_met_there(tiny_checkpoint, shared_data):
    """As MPII publishes them: the crop and what is found in it move by the pixel."""
    dataset = hgedge.datasets.open(shared_data / "lspet", "val")
    people = tuple(replace(p, keypoints=p.keypoints + 1, box_xyxy=p.box_xyxy + 1) for p in dataset.people[:3])
    moved = replace(dataset, people=people, origin_px=1.0)
    with pipeline_of(str(tiny_checkpoint)) as pipeline:
        one, two = (predict(pipeline, each, np.arange(3)).keypoints for each in (dataset, moved))
    np.testing.assert_allclose(two, one + 1, atol=1e-4)  # float32


def test_stacks_are_averaged_in_a_checkpoint(tiny_checkpoint, lspet_crops):
    import torch

    crops = lspet_crops(2, (64, 64))
    with pipeline_of(str(tiny_checkpoint)) as last, pipeline_of(str(tiny_checkpoint), average_stacks=True) as both:
        image = torch.from_numpy(crops).permute(0, 3, 1, 2).flip(1)
        with torch.inference_mode():
            stacks = last.session.net((image - last.session.mean) / last.session.std).numpy()
        np.testing.assert_allclose(both.session.run(crops), stacks.mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(last.session.run(crops), stacks[:, -1], atol=1e-6)


def test_one_stack_is_not_averaged(tmp_path):
    net = HourglassNet(HourglassConfig(num_stacks=1, num_features=16, num_keypoints=16))
    save_checkpoint(tmp_path / "one.safetensors", net, name="one", input=InputSpec((64, 64)), keypoints=MPII16)
    with pytest.raises(ConfigError, match="has one stack, so there is nothing to average"):
        pipeline_of(str(tmp_path / "one.safetensors"), average_stacks=True)


def test_bundles_have_no_stacks_to_average(tmp_path):
    with pytest.raises(ConfigError, match="is a bundle, which keeps the last stack alone; average the stacks of a"):
        pipeline_of(str(tmp_path), average_stacks=True)


@pytest.mark.parametrize("name", ["net.onnx", "recipe.toml"])
def test_what_must_be_built_first_says_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=f"must be built before it can be evaluated: hgedge build .*{name}"):
        pipeline_of(str(tmp_path / name))
