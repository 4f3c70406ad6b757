"""`hgedge build --max-drop P --data DIR`: a bundle that was judged, or none."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hgedge.backends import sessions
from hgedge.budget.candidate import BudgetExceeded
from hgedge.builder import BuildOptions, build
from hgedge.builder.budget import max_drop_of
from hgedge.bundle import open_bundle, read_manifest, seal
from hgedge.cli.main import main
from hgedge.errors import ConfigError, HgedgeError
from hgedge.evaluation.evaluate import evaluate
from hgedge.quantization.groups import groups

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

ROUNDS = 3  # no time decides a test
LOOSE, TIGHT = "within@0.1 pooled", "within@0.03 pooled"
PLANTED = "features.1.0.0"


@pytest.fixture(scope="module", autouse=True)
def notebooks(tmp_path_factory):
    """Measurements are kept for this module alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder := tmp_path_factory.mktemp("cache")))
        patch.setattr("hgedge.budget.lab.ROUNDS", ROUNDS)
        yield folder


def options(output, **changes):
    return BuildOptions(**{"model": "face68", "backend": "openvino", "output": output, **changes})


def all_but_planted(bundle):
    return tuple(name for name in groups(onnx.load(bundle / "source.onnx")) if name != PLANTED)


def test_the_default_budget_is_kept_and_told_in_the_bundle(faces, tmp_path, caplog, notebooks):
    with caplog.at_level(logging.INFO, "hgedge"):
        report = build(options(tmp_path, data=faces))
    assert "--data without --max-drop: INT8 may lose 1 points" in caplog.text
    manifest = open_bundle(report.bundle)
    budget = manifest.budget
    assert (budget.metric, budget.max_drop, budget.half) == (LOOSE, 1.0, "confirm")
    assert (budget.data, budget.split, budget.people) == ("faces68", "val", 94)
    assert budget.intervals[LOOSE]["high"] <= 1.0 and 0 < budget.smallest_provable <= 1.0
    assert manifest.accuracy.keys() == manifest.drop.keys() == {LOOSE, TIGHT}
    assert (report.drop, report.budget) == (manifest.drop, budget)
    fulls, last = report.tried[:2], report.tried[-1]
    assert [row["placement"] for row in fulls] == ["stream", "conv"] and last["half"] == "confirm" and last["fits"]
    fitting = [row for row in report.tried[:-1] if row["fits"]]
    fastest = min(fitting, key=lambda row: row["ms"])
    assert last["ms"] <= fastest["ms"] + max(row["noise_ms"] for row in fitting)
    whole = evaluate(str(report.bundle), faces, "val")["metrics"][LOOSE]  # both halves, by another way
    halves = [row["accuracy"][LOOSE] for row in report.tried if row["placement"] == last["placement"]]
    assert len(halves) == 2 and min(halves) < whole < max(halves)

    (notes,) = (notebooks / "hgedge" / "budget").iterdir()
    before = notes.read_bytes()
    again = build(options(tmp_path, data=faces))
    assert again.reused and again.tried == report.tried and notes.read_bytes() == before


def test_a_bundle_that_is_there_is_judged_and_told(faces, tmp_path):
    """A plain build, the same under a budget: one engine, its loss noted; a plain one again keeps that."""
    plain = build(options(tmp_path, placement="conv"))
    engine = (plain.bundle / "engine.bin").read_bytes()
    assert plain.drop is None
    judged = build(options(tmp_path, placement="conv", data=faces))
    assert judged.reused and judged.bundle == plain.bundle and (plain.bundle / "engine.bin").read_bytes() == engine
    assert judged.drop == open_bundle(plain.bundle).drop and judged.drop.keys() == {LOOSE, TIGHT}
    assert build(options(tmp_path, placement="conv")).drop == judged.drop


class Elsewhere:
    """An engine that puts every joint ten cells aside."""

    def __init__(self, session):
        self.session = session

    def run(self, crops):
        return np.roll(self.session.run(crops), 10, axis=-1)

    def close(self):
        self.session.close()


def test_the_engine_of_the_bundle_itself_is_judged(faces, tmp_path, monkeypatch):
    """One that came out otherwise than the one that was searched with is not shipped."""
    build(options(tmp_path / "first", data=faces))  # what was searched is noted
    load, own = sessions("openvino").load, tmp_path / "second"
    monkeypatch.setattr(
        sessions("openvino"),
        "load",
        lambda folder, manifest: Elsewhere(load(folder, manifest)) if own in folder.parents else load(folder, manifest),
    )
    with pytest.raises(BudgetExceeded, match="the engine of the bundle loses .* though one built like it did not"):
        build(options(tmp_path / "second", data=faces))
    assert not (tmp_path / "second").exists()


def test_another_precision_is_judged_on_everybody(faces, tmp_path):
    report = build(options(tmp_path, precision="fp32", data=faces, max_drop=0.1))
    assert report.drop == {LOOSE: 0.0, TIGHT: 0.0}
    assert (report.budget.half, report.budget.people) == ("all", 187)
    assert report.budget.smallest_provable == pytest.approx(300 / (187 * 68), abs=1e-3)
    assert [row["precision"] for row in report.tried] == ["fp32"]


def test_nothing_fits(planted_bundle, faces, tmp_path, capfd):
    """Exit 1, the best one named, no bundle: the only group that may be INT8 is ruined."""
    kept = ",".join(all_but_planted(planted_bundle))
    words = ("--data", faces, "--max-drop", "2", "--backend", "openvino", "--float-groups", kept, "--json")
    code = main([str(word) for word in ("build", planted_bundle, *words, "--output", tmp_path / "engines")])
    stdout, stderr = capfd.readouterr()
    assert code == 1, stderr
    document = json.loads(stdout)
    assert document["bundle"] is None and document["best"] in document["tried"]
    assert {row["placement"] for row in document["tried"]} == {"stream", "conv"}
    assert all(row["drop"][LOOSE]["low"] > 2 for row in document["tried"])
    assert "nothing is built" in stderr and "comes nearest and loses" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "needs labelled people .* but there is no --data"),
        ({"engine": False}, "measured on the engine, but --no-engine makes none"),
        ({"max_drop": 0.01}, r"at least 0\.05 points to be proven on 94 people .* but got 0\.01; give more people"),
        ({"max_drop": 0.1}, r"at least 0\.\d\d points to be proven on 94 people .* but got 0\.1; give more people"),
        ({"model": "default"}, "labelled with the 68 keypoints 'face68', but default predicts the 14 of 'lsp14'"),
    ],
)
def test_a_budget_that_cannot_be(faces, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        build(options(tmp_path / "engines", **{"data": faces, "max_drop": 1.0, **changes}))
    assert refused.value.exit_code == 2 and not isinstance(refused.value, BudgetExceeded)
    assert not (tmp_path / "engines").exists()


def test_when_a_budget_applies(tmp_path):
    data, recipe = tmp_path / "data", tmp_path / "recipe.toml"
    assert max_drop_of(BuildOptions(data=data)) == 1.0
    assert max_drop_of(BuildOptions(data=data, max_drop=0.5)) == 0.5
    assert max_drop_of(BuildOptions(data=data, calibration=tmp_path)) == 1.0
    assert max_drop_of(BuildOptions(data=data, calibration=recipe)) is None, "the data are the recipe's"
    assert max_drop_of(BuildOptions(data=data, calibration=recipe, max_drop=0.5)) == 0.5
    assert max_drop_of(BuildOptions(data=data, precision="fp32")) is None
    assert max_drop_of(BuildOptions(data=data, precision="fp32", max_drop=0.5)) == 0.5
    assert max_drop_of(BuildOptions(data=data, engine=False)) is None
    assert max_drop_of(BuildOptions()) is None


@pytest.mark.parametrize("max_drop", [0.0, -1.0, 101.0, float("nan")])
def test_a_budget_is_in_points(max_drop):
    with pytest.raises(ConfigError, match="max_drop must be points above 0, at most 100"):
        BuildOptions(max_drop=max_drop)


def test_nan_in_weights_is_refused(planted_bundle, faces, tmp_path):
    folder = tmp_path / "nan"
    shutil.copytree(planted_bundle, folder)
    graph = onnx.load(folder / "source.onnx")
    item = next(item for item in graph.graph.initializer if item.name == "hgs.0.up.0.conv2.weight")
    values = numpy_helper.to_array(item).copy()
    values.flat[7] = np.nan
    item.CopyFrom(numpy_helper.from_array(values, item.name))
    onnx.save(graph, folder / "source.onnx")
    seal(folder, read_manifest(folder))
    with pytest.raises(HgedgeError, match=r"'hgs\.0\.up\.0\.conv2\.weight' .* with NaN") as refused:
        build(options(tmp_path / "engines", model=str(folder), data=faces))
    assert refused.value.exit_code == 2 and not (tmp_path / "engines").exists()
