"""What groups cost and save, and what a notebook keeps of it."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.budget.lab import Lab, _median, heatmap_error
from hgedge.budget.notebook import Notebook, notebook_for
from hgedge.budget.search import search
from hgedge.budget.sensitivity import sensitivity
from hgedge.errors import QuantizationError

FREE = ["features.1.0.0", "hgs.1.out.0", "hgs.1.up.0"]
PLANTED = "features.1.0.0"
BUDGET, MS_A_GROUP = 3.0, 0.5


def test_the_planted_group_is_dear_and_a_search_has_measured_it(lab, subject, clock, halves, notes):
    search(lab, halves, BUDGET)
    with Lab(subject, Notebook(notes), timer := clock()) as again:
        rows = sensitivity(again, "stream", halves[0])
    assert timer.asked == 0, "the search had measured all of it"
    assert sorted(row.group for row in rows) == FREE
    assert [row.group for row in rows] == [name for name in subject.groups() if name in FREE]
    by_name = {row.group: row for row in rows}
    others = [by_name[name] for name in FREE if name != PLANTED]
    dear = by_name[PLANTED]
    assert dear.cost.heatmap_error > 5 * max(row.cost.heatmap_error for row in others)
    assert dear.cost.drop["within@0.1 pooled"]["low"] > BUDGET
    assert all(row.cost.drop["within@0.1 pooled"]["points"] < BUDGET for row in others)
    assert all(row.saved_ms == pytest.approx(MS_A_GROUP) and row.noise_ms == 0 for row in rows)
    assert dear.convs == tuple(f"{PLANTED}.conv{i}" for i in (1, 2, 3))
    assert dear.rank == max(row.rank for row in rows)


def test_fp32_loses_nothing(lab, halves):
    from hgedge.budget.candidate import FP32

    drop = lab.drop(FP32, halves[0])
    assert drop.heatmap_error == 0
    assert all(found == {"points": 0.0, "low": 0.0, "high": 0.0} for found in drop.drop.values())


def test_latency_follows_the_rounds_that_it_was_taken_in(subject, halves, tmp_path):
    """When the machine is half as fast an hour later, nothing has changed."""
    load = iter([1.0, 2.0])

    def timer(runs, rounds):
        factor = next(load)
        return {
            name: np.full(
                rounds, factor * {"int8 stream": 4.0, "int8 conv": 6.0}.get(name.partition(" without")[0], 10.0)
            )
            for name in runs
        }

    with Lab(subject, Notebook(tmp_path / "notes.jsonl"), timer) as lab:
        assert lab.latency(subject.full("stream"), halves[0]).ms == 4.0
        assert lab.latency(subject.full("conv"), halves[0]).ms == pytest.approx(6.0)


def test_noise_is_the_interval_of_a_median():
    samples = np.random.default_rng(5).normal(10, 1, (4000, 40))
    noise = np.mean([_median(row, 1.0)["noise_ms"] for row in samples])
    # the notch of McGill et al. is 1.7 standard errors of a median, which are sqrt(pi / 2) sigma / sqrt(n)
    assert noise == pytest.approx(1.7 * np.sqrt(np.pi / 2) / np.sqrt(40), rel=0.05)


def test_a_notebook_is_of_one_way_to_quantise(subject, tmp_path):
    import dataclasses

    first = notebook_for(tmp_path, subject, "people").path
    assert first == notebook_for(tmp_path, subject, "people").path
    manifest = dataclasses.replace(subject.manifest, batch=(2,))
    others = [
        notebook_for(tmp_path, subject, "others"),
        notebook_for(tmp_path, dataclasses.replace(subject, manifest=manifest), "people"),
        notebook_for(tmp_path, dataclasses.replace(subject, placements=("stream",)), "people"),
        notebook_for(tmp_path, dataclasses.replace(subject, render=lambda candidate: subject.graph), "people"),
    ]
    assert len({first, *(other.path for other in others)}) == 5


def test_a_notebook_that_cannot_be_written_says_so_and_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    notebook = Notebook(tmp_path / "file" / "notes.jsonl")
    assert notebook.once("a", lambda: {"value": 1}) == {"value": 1}
    assert notebook.once("a", lambda: {"value": 2}) == {"value": 1}
    assert "not kept for next time" in caplog.text


def test_a_network_that_gives_no_numbers_is_refused(subject, halves):
    import dataclasses

    import onnx
    from onnx import numpy_helper

    graph = onnx.ModelProto.FromString(subject.graph.SerializeToString())
    item = next(item for item in graph.graph.initializer if item.name == "stem.conv.bias")
    item.CopyFrom(numpy_helper.from_array(np.full(item.dims, np.nan, np.float32), item.name))
    broken = dataclasses.replace(subject, graph=graph, render=lambda candidate: graph)
    with Lab(broken, Notebook(None)) as lab, pytest.raises(QuantizationError, match="not finite in FP32"):
        lab.drop(broken.asked, halves[0])


def test_one_picture_does_not_decide_the_heatmaps_error():
    fp32 = np.random.default_rng(6).normal(size=(9, 2, 4, 4))
    ours = fp32 * 1.05
    ours[3] = 0
    assert heatmap_error(ours, fp32) == pytest.approx(0.05)
    assert heatmap_error(fp32, fp32) == 0
    assert heatmap_error(np.full_like(fp32, np.nan), fp32) == np.inf
