"""The table against arithmetic of its own: accuracy, derived milliseconds, paired intervals."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.predictions import Predictions
from hgedge.sweep import measure
from hgedge.sweep.grid import Candidate
from hgedge.sweep.rows import compare, rows_of

SAMPLING = 0.15  # points: ends of an interval from 2,000 draws against 20,000 others
GRID = [Candidate(2, (64, 64), "fp32"), Candidate(2, (64, 64), "int8", "conv"), Candidate(1, (64, 64), "bf16")]
PEOPLE = 400


@pytest.fixture(scope="module")
def people():
    """(right, counted): (3, P) joints that are right, the second's much like the first's, and (P,) that count."""
    draw = np.random.default_rng(3)
    counted = draw.integers(6, 15, PEOPLE)
    skill = draw.beta(4, 2, PEOPLE)
    first = draw.binomial(counted, skill)
    second = np.clip(first - draw.binomial(2, 0.1, PEOPLE), 0, None)
    return np.stack([first, second, draw.binomial(counted, 0.8 * skill)]), counted


@pytest.fixture(scope="module")
def table(people):
    right, counted = people
    notes = {
        candidate: {
            "latency": {"ratio": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio, "others": 0.0},
            "accuracy": {"right": {"loose": row.tolist()}, "gmacs": 1.0, "agreement": None, "model_onnx": "abc"},
        }
        for candidate, ratio, row in zip(GRID, (1.0, 2.5, 2.0), right)
    }
    together = {"ms": {"the baseline": {"p50": 10.0}, GRID[1].name: {"p50": 4.4}}, "others": 0.0}
    rows = rows_of(GRID, notes, {}, together, {"loose": counted})
    compare(rows, [notes[each]["accuracy"] for each in GRID], {"loose": counted})
    return rows


def test_milliseconds_are_of_the_last_run_or_the_baselines_by_the_ratio(table):
    assert [row["latency_ms_p50"] for row in table] == [10.0, 4.4, 5.0]
    assert [row["timed_together"] for row in table] == [False, True, False]
    assert [row["pareto"] for row in table] == [True, True, False]


def test_accuracy_pools_joints(table, people):
    right, counted = people
    assert [row["accuracy"] for row in table] == [round(100 * each.sum() / counted.sum(), 3) for each in right]


def test_intervals_are_of_people_and_paired(table, people):
    right, counted = people
    draws = np.random.default_rng(99).integers(PEOPLE, size=(20_000, PEOPLE))
    drawn = 100 * right[:, draws].sum(axis=-1) / counted[draws].sum(axis=-1)
    for row, own in zip(table, drawn):
        ends = (row["interval"]["low"], row["interval"]["high"])
        assert ends == pytest.approx(np.percentile(own, (2.5, 97.5)), abs=SAMPLING)
        below = (row["below_best"]["low"], row["below_best"]["high"])
        assert below == pytest.approx(np.percentile(drawn[0] - own, (2.5, 97.5)), abs=SAMPLING)
    own, paired = (table[1][name]["high"] - table[1][name]["low"] for name in ("interval", "below_best"))
    assert paired < own / 3, "people who are hard for both did not cancel out"
    assert table[0]["below_best"] == {"points": 0.0, "low": 0.0, "high": 0.0}


def test_joints_are_counted_as_the_metric_counts_them():
    """Of two people with a torso of 100 px: joints within 20 px are right, those not labelled count for nothing."""
    joints = np.zeros((2, 14, 2))
    for name, xy in {
        "right_shoulder": (0, 0),
        "left_hip": (60, 80),
        "left_shoulder": (60, 0),
        "right_hip": (0, 80),
    }.items():
        joints[:, LSP14.names.index(name)] = xy
    labelled = np.ones((2, 14), bool)
    labelled[1, LSP14.names.index("head_top")] = False
    labels = Labels(
        LSP14, joints, labelled, np.full(2, np.nan), np.full(2, np.nan), np.zeros((2, 4)),
        np.array(["a", "b"]), np.array(["a", "b"]), np.arange(2), 2, "two people",
    )  # fmt: skip
    off = joints.copy()
    off[0, :3, 0] += 19
    off[0, 3:8, 0] += 21
    off[1, :, 0] += 200
    assert {name: each.tolist() for name, each in measure.joints_counted(labels).items()} == {
        "PCK@0.2 pooled": [14, 13], "PCK@0.05 pooled": [14, 13]
    }  # fmt: skip
    assert measure.joints_right(Predictions(off, np.ones(2)), labels) == {
        "PCK@0.2 pooled": [9, 0], "PCK@0.05 pooled": [6, 0]
    }  # fmt: skip
