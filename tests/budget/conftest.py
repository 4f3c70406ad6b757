"""face68 with one channel of one block planted a thousand times too large, and faces to measure it on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hgedge.budget.candidate import Candidate, Subject
from hgedge.budget.lab import Lab
from hgedge.budget.notebook import Notebook
from hgedge.budget.people import halves_of
from hgedge.bundle import read_manifest, seal
from hgedge.evaluation.evaluate import open_people
from hgedge.models.zoo import shipped_half
from hgedge.quantization.groups import groups
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.ranges import RangeTable, load_table, save_table

PLANTED = "features.1.0.0"
FREE = ("hgs.1.out.0", "hgs.1.up.0", PLANTED)  # the groups that a search may choose among, so that tests are quick
FACTOR = 1000.0
PEOPLE = 40
MS = {"int8 stream": 4.0, "int8 conv": 5.0}
MS_A_GROUP = 0.5  # that a group left float takes longer


@pytest.fixture(scope="session")
def faces(shared_data: Path) -> Path:
    folder = shared_data / "faces"
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    return folder


@pytest.fixture(scope="session")
def halves(faces: Path):
    return halves_of(*open_people(faces, "val", PEOPLE))


def planted(graph: onnx.ModelProto, table: RangeTable) -> tuple[onnx.ModelProto, RangeTable]:
    """The same function with one channel FACTOR larger, and what reads it scaled back."""
    graph = onnx.ModelProto.FromString(graph.SerializeToString())
    weights = {item.name: item for item in graph.graph.initializer}
    for name, scale in (("conv1.weight", FACTOR), ("conv1.bias", FACTOR), ("conv2.weight", 1 / FACTOR)):
        item = weights[f"{PLANTED}.{name}"]
        values = numpy_helper.to_array(item).copy()
        values[(slice(None), 0) if name.startswith("conv2") else 0] *= scale
        item.CopyFrom(numpy_helper.from_array(values, item.name))
    tensor = f"{PLANTED}.conv1.relu"
    low, high = table.ranges[tensor]
    return graph, dataclasses.replace(table, ranges={**table.ranges, tensor: (low, FACTOR * high)})


def float_but_free(graph: onnx.ModelProto) -> tuple[str, ...]:
    return tuple(name for name in groups(graph) if name not in FREE)


@pytest.fixture(scope="session")
def planted_half():
    """The folder of face68's portable half, its manifest, and graph and ranges with the planted channel."""
    folder = shipped_half("face68")
    graph, table = planted(onnx.load(folder / "source.onnx"), load_table(folder / "calibration.json"))
    return folder, read_manifest(folder), graph, table


@pytest.fixture(scope="session")
def planted_bundle(planted_half, tmp_path_factory) -> Path:
    """The portable half with the planted channel, to build from; its golden heatmaps still hold."""
    shipped, manifest, graph, table = planted_half
    folder = tmp_path_factory.mktemp("planted") / "face68"
    folder.mkdir()
    (folder / "source.onnx").write_bytes(graph.SerializeToString())
    (folder / "model.onnx").write_bytes((shipped / "model.onnx").read_bytes())
    (folder / "golden.npz").write_bytes((shipped / "golden.npz").read_bytes())
    save_table(table, folder / "calibration.json")
    seal(folder, manifest)
    return folder


@pytest.fixture(scope="session")
def subject(planted_half):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    _, manifest, graph, table = planted_half

    def render(candidate: Candidate) -> onnx.ModelProto:
        if candidate.precision == "fp32":
            return graph
        return quantize(graph, table, candidate.placement, False, candidate.float_groups)

    return Subject(graph, manifest, "onnxruntime", render, Candidate("int8", "stream", float_but_free(graph)))


@dataclass
class Clock:
    """Known times instead of measured ones: a pure function of the engine's name. Counts what it was asked for."""

    pinned: int
    fp32_ms: float = 10.0
    asked: int = 0

    def __call__(self, runs, rounds):
        self.asked += 1
        return {name: np.full(rounds, self.ms(name)) for name in runs}

    def ms(self, name: str) -> float:
        whole, _, kept = name.partition(" without ")
        extra = len(kept.split(", ")) - self.pinned if kept else 0
        return {**MS, "fp32": self.fp32_ms}[whole] + MS_A_GROUP * extra


@pytest.fixture(scope="session")
def clock(subject):
    return lambda **settings: Clock(len(subject.asked.float_groups), **settings)


@pytest.fixture(scope="session")
def notes(tmp_path_factory) -> Path:
    """A notebook that the session's searches share: accuracy is the same for all, and so are the known times."""
    return tmp_path_factory.mktemp("notes") / "planted.jsonl"


@pytest.fixture
def lab(subject, clock, notes):
    with Lab(subject, Notebook(notes), clock()) as lab:
        yield lab
