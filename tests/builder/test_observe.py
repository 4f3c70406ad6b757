"""What calibration keeps: once is enough, killed or not, and what does not fit any longer is made anew."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge.builder import BuildOptions, build, observe
from hgedge.builder.calibration import CalibrationSet
from hgedge.builder.observe import observed
from hgedge.bundle import open_bundle
from hgedge.errors import QuantizationError
from hgedge.progress import no_progress
from hgedge.spec import InputSpec

SPEC = InputSpec((64, 64))
KEY, OTHER_KEY, OTHER_NAMING = f"names1-{'a' * 64}", f"names1-{'b' * 64}", f"names2-{'a' * 64}"
METHODS = ["mean-minmax", "entropy"]
LOG = "hgedge.builder.observe"


@pytest.fixture(scope="module")
def graph():
    """Two convolutions and the head, with seeded weights."""
    rng, nodes, constants, x = np.random.default_rng(0), [], [], "image"
    for index, (read, made) in enumerate([(3, 8), (8, 8), (8, 4)]):
        out = "heatmaps" if index == 2 else f"c{index}"
        weight = rng.normal(size=(made, read, 3, 3)).astype(np.float32) / 5
        constants.append(numpy_helper.from_array(weight, f"{out}.weight"))
        nodes.append(helper.make_node("Conv", [x, f"{out}.weight"], [out], pads=[1] * 4, strides=[2] * 2))
        nodes += [] if index == 2 else [helper.make_node("Relu", [out], [x := f"{out}.relu"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in (("image", (3, 64, 64)), ("heatmaps", (4, 8, 8)))
    ]
    made = helper.make_graph(nodes, "test", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def pictures(picture_folder, tmp_path):
    """40 files, one of which cannot be read."""
    folder = tmp_path / "pictures"
    shutil.copytree(picture_folder, folder)
    files = tuple(sorted(folder.iterdir()))
    files[3].write_bytes(b"no picture")
    return files


@pytest.fixture
def asked(pictures, tmp_path):
    """asked(method) -> the set of those pictures, kept in a file of that method's kind."""
    return lambda method: CalibrationSet(tmp_path, pictures, method, tmp_path / "out" / ".calibration" / "x.npz")


class Seen:
    """Progress that notes which pictures were done, and stops at one."""

    def __init__(self, stop_at=None):
        self.done, self.stop_at = [], stop_at

    def __call__(self, stage, done, total):
        assert (stage, total) == ("calibrate", 40)
        self.done.append(done)
        if done == self.stop_at:
            raise KeyboardInterrupt


def same(one, two):
    assert all(np.array_equal(array, two.arrays()[name]) for name, array in one.arrays().items())
    return one.count == two.count


@pytest.mark.parametrize("method", METHODS)
def test_the_second_time_nothing_is_run(graph, asked, method, caplog):
    first = observed(asked(method), KEY, graph, SPEC, no_progress)
    again, seen = asked(method), Seen()
    with caplog.at_level(logging.INFO, LOG):
        assert same(observed(again, KEY, graph, SPEC, seen), first) and seen.done == []
    assert first.count == 39 and "40 of 40 pictures were run before" in caplog.text
    assert [path.name for path in again.kept.parent.iterdir()] == ["x.npz"]
    fresh = observed(dataclasses.replace(again, kept=None), KEY, graph, SPEC, no_progress)
    assert fresh.ranges(method) == first.ranges(method)


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_it_goes_on_to_the_same_bits(graph, asked, method, monkeypatch):
    undisturbed = observed(dataclasses.replace(asked(method), kept=None), KEY, graph, SPEC, no_progress)
    monkeypatch.setattr(observe, "SAVE_EVERY_S", 0.0)
    for stop_at in (1, 5, 17):
        with pytest.raises(KeyboardInterrupt):
            observed(asked(method), KEY, graph, SPEC, Seen(stop_at))
    seen = Seen()
    assert same(observed(asked(method), KEY, graph, SPEC, seen), undisturbed)
    assert seen.done == list(range(17, 40))


KILLED = """
import os, signal, sys, onnx
from pathlib import Path
from hgedge.builder import observe
from hgedge.builder.calibration import CalibrationSet
from hgedge.spec import InputSpec
def progress(stage, done, total):
    if done == 20:
        os.kill(os.getpid(), signal.SIGKILL)
observe.SAVE_EVERY_S = 0.0
folder, model, key = Path(sys.argv[1]), onnx.load(sys.argv[2]), sys.argv[3]
chosen = CalibrationSet(folder, tuple(sorted((folder / "pictures").iterdir())), "entropy", Path(sys.argv[4]))
observe.observed(chosen, key, model, InputSpec((64, 64)), progress)
"""


def test_killed_it_goes_on_to_the_same_bits(graph, asked, tmp_path, program_environment):
    onnx.save(graph, tmp_path / "graph.onnx")
    chosen = asked("entropy")
    command = [sys.executable, "-c", KILLED, tmp_path, tmp_path / "graph.onnx", KEY, chosen.kept]
    died = subprocess.run(list(map(str, command)), env=program_environment, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    seen = Seen()
    undisturbed = observed(dataclasses.replace(chosen, kept=None), KEY, graph, SPEC, no_progress)
    assert same(observed(chosen, KEY, graph, SPEC, seen), undisturbed) and seen.done[0] == 20


def changed_picture(chosen):
    shutil.copyfile(chosen.pictures[0], chosen.pictures[1])


def older(chosen):
    with np.load(chosen.kept) as file:
        arrays = dict(file)
    head = json.loads(str(arrays.pop("head")))
    head["fits"]["version"] = "0"
    np.savez(chosen.kept, head=np.array(json.dumps(head)), **arrays)


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        (None, OTHER_KEY, "the network's weights or input have changed"),
        (None, OTHER_NAMING, "tensors are named by another rule"),
        (changed_picture, KEY, "the pictures have changed"),
        (older, KEY, "another version of hgedge kept it"),
    ],
)
def test_what_does_not_fit_is_made_anew_and_why_is_said(graph, asked, change, key, reason, caplog):
    chosen, seen = asked("mean-minmax"), Seen()
    observed(chosen, KEY, graph, SPEC, no_progress)
    if change is not None:
        change(chosen)
    with caplog.at_level(logging.INFO, LOG):
        anew = observed(chosen, key, graph, SPEC, seen)
    assert reason in caplog.text and "calibrating anew" in caplog.text and len(seen.done) == 39
    assert same(anew, observed(dataclasses.replace(chosen, kept=None), key, graph, SPEC, no_progress))
    seen = Seen()
    assert same(observed(chosen, key, graph, SPEC, seen), anew) and seen.done == []


def test_another_graph_of_the_same_weights_is_made_anew(graph, asked, caplog):
    chosen = asked("mean-minmax")
    observed(chosen, KEY, graph, SPEC, no_progress)
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    for node in other.graph.node:
        node.input[:] = ["renamed" if name == "c0.relu" else name for name in node.input]
        node.output[:] = ["renamed" if name == "c0.relu" else name for name in node.output]
    with caplog.at_level(logging.INFO, LOG):
        assert "renamed" in observed(chosen, KEY, other, SPEC, no_progress).names
    assert "other tensors are quantised" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text", "another", "folder"])
def test_a_damaged_file_breaks_nothing(graph, asked, damage, caplog):
    chosen, seen = asked("entropy"), Seen()
    first = observed(chosen, KEY, graph, SPEC, no_progress)
    data = bytearray(chosen.kept.read_bytes())
    data[len(data) // 2] ^= 255
    chosen.kept.unlink()
    if damage == "folder":
        chosen.kept.mkdir()
    elif damage == "another":
        np.savez(chosen.kept, head=np.array("{}"))
    else:
        content = {"empty": b"", "half": data[: len(data) // 2], "flipped": data, "text": b"{}"}[damage]
        chosen.kept.write_bytes(content)
    with caplog.at_level(logging.INFO, LOG):
        assert same(observed(chosen, KEY, graph, SPEC, seen), first) and len(seen.done) == 39
    assert "it is damaged" in caplog.text


def test_where_nothing_can_be_kept_ranges_are_drawn_all_the_same(graph, asked, tmp_path, caplog):
    (tmp_path / "out").write_text("in the way")
    with caplog.at_level(logging.INFO, LOG):
        assert observed(asked("mean-minmax"), KEY, graph, SPEC, no_progress).count == 39
    assert "what calibration found is not kept" in caplog.text


def test_nothing_is_left_of_a_set_that_is_refused(graph, asked, monkeypatch):
    monkeypatch.setattr(observe, "SAVE_EVERY_S", 0.0)
    chosen = asked("mean-minmax")
    for path in chosen.pictures[10:13]:
        path.write_bytes(b"no picture")
    with pytest.raises(QuantizationError, match=r"4 of 40 calibration pictures of .* cannot be read"):
        observed(chosen, KEY, graph, SPEC, no_progress)
    assert not chosen.kept.parent.exists()


def test_a_second_build_from_the_same_pictures_runs_none(graph, picture_folder, tmp_path, caplog):
    onnx.save(graph, tmp_path / "small.onnx")
    asked = {
        "model": str(tmp_path / "small.onnx"),
        "calibration": picture_folder,
        "calibration_images": 32,
        "backend": "onnxruntime",
    }
    seen = []
    first = build(BuildOptions(**asked, output=tmp_path, calibration_method="percentile-99.9"))
    with caplog.at_level(logging.INFO, LOG):
        second = build(
            BuildOptions(**asked, output=tmp_path, calibration_method="mse", placement="conv"),
            lambda stage, done, total: seen.append((stage, total)),
        )
    assert "32 of 32 pictures were run before" in caplog.text and ("calibrate", 32) not in seen
    infos = [open_bundle(report.bundle).calibration for report in (first, second)]
    assert [(info.method, info.images) for info in infos] == [("percentile-99.9", 32), ("mse", 32)]
    tables = [json.loads((report.bundle / "calibration.json").read_text()) for report in (first, second)]
    assert [table["method"] for table in tables] == ["percentile-99.9", "mse"]
    assert tables[0]["ranges"] != tables[1]["ranges"]
