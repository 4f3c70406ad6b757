"""The fastest assignment inside a budget, on a trained network with one channel that ruins INT8."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.budget.candidate import BudgetExceeded, Candidate
from hgedge.budget.lab import Drop, Lab, Latency
from hgedge.budget.notebook import Notebook
from hgedge.budget.search import Trial, fewest, least_lossy, search
from hgedge.errors import ConfigError

PLANTED = "features.1.0.0"
BUDGET = 3.0  # points; 20 faces cannot prove much less, and the planted channel costs tens


def test_exactly_the_planted_group_is_restored(lab, halves):
    outcome = search(lab, halves, BUDGET)
    chosen, pinned = outcome.chosen, lab.subject.asked.float_groups
    assert chosen.candidate.float_groups == (*pinned, PLANTED)
    assert (chosen.candidate.placement, chosen.half, chosen.fits) == ("stream", "confirm", True)
    assert chosen.points["high"] <= BUDGET and outcome.people == len(halves[1])
    full = {trial.candidate.placement: trial for trial in outcome.tried if trial.candidate.float_groups == pinned}
    assert full.keys() == {"stream", "conv"}
    assert not any(trial.fits for trial in full.values())
    assert min(trial.points["low"] for trial in full.values()) > BUDGET, "the channel does not ruin INT8"
    assert [trial.half for trial in outcome.tried][-1] == "confirm"
    assert sum(trial.half == "confirm" for trial in outcome.tried) == 1


def test_an_interrupted_search_goes_on_to_the_same_end(subject, clock, halves, notes, tmp_path, lab):
    whole = search(lab, halves, BUDGET)
    copy = tmp_path / "cut.jsonl"
    lines = notes.read_text().splitlines(keepends=True)
    copy.write_text("".join(lines[:-2]) + lines[-2][:30])  # killed in the middle of a line
    with Lab(subject, Notebook(copy), clock()) as again:
        assert search(again, halves, BUDGET) == whole
    with Lab(subject, Notebook(copy), timer := clock()) as third:
        assert search(third, halves, BUDGET) == whole
    assert timer.asked == 0, "what is in the notebook was measured again"


def test_nothing_fits(subject, clock, halves, tmp_path, notes, lab):
    """Where FP32 is faster than all else, no INT8 engine is worth it; the one that comes nearest is named."""
    search(lab, halves, BUDGET)
    measured = [line for line in notes.read_text().splitlines(keepends=True) if '"latency' not in line]
    (tmp_path / "slow.jsonl").write_text("".join(measured))
    with Lab(subject, Notebook(tmp_path / "slow.jsonl"), clock(fp32_ms=3.0)) as slow:
        with pytest.raises(BudgetExceeded, match="no INT8 engine that is faster than FP32 fits .* comes nearest") as no:
            search(slow, halves, BUDGET)
    assert no.value.exit_code == 1
    best, tried = no.value.outcome["best"], no.value.outcome["tried"]
    assert [row["placement"] for row in tried] == ["stream", "conv"] and best in tried and not best["fits"]
    loose = "within@0.1 pooled"
    assert best["drop"][loose]["high"] == min(row["drop"][loose]["high"] for row in tried)


def test_a_budget_that_so_few_cannot_prove(lab, halves):
    joints = 68 * len(halves[1])
    with pytest.raises(ConfigError, match=rf"at least 0\.2\d points to be proven on 20 people \({joints} joints"):
        search(lab, halves, 0.9 * 300 / joints)


@pytest.mark.parametrize("most", [1, 2, 7, 33])
def test_fewest_is_the_least_that_fits(most):
    for least in range(1, most + 3):
        asked = []
        found = fewest(lambda count, least=least, asked=asked: asked.append(count) or count >= least, most)
        assert found == (least if least <= most else None)
        assert all(1 <= count <= most for count in asked)
        assert len(set(asked)) <= 2 * np.log2(most + 1) + 2
    assert fewest(lambda count: True, 0) is None


def test_what_time_cannot_tell_apart_is_decided_by_accuracy():
    def trial(ms, noise_ms, error):
        return Trial(Candidate(), Latency(ms, noise_ms), Drop({}, {}, error), "search", True)

    fast, near, slow = trial(10.0, 0.3, 0.05), trial(10.2, 0.1, 0.04), trial(10.4, 0.1, 0.01)
    assert least_lossy([fast, near, slow]) == near
    assert least_lossy([trial(10.0, 0.1, 0.05), near]).ms == 10.0
    assert least_lossy([]) is None
