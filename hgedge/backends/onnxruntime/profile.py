"""Time the nodes of the graph that ONNX Runtime makes of `model.onnx`, as its own profiler notes them in a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hgedge.backends.base import PROFILE_WARMUP, TimedLayer, normalised
from hgedge.backends.onnxruntime.session import QUIET
from hgedge.bundle import file_of
from hgedge.errors import EngineMismatch
from hgedge.progress import Progress, no_progress
from hgedge.spec import Manifest

TIMED = "_kernel_time"
ADDED = ("_nchwc", "_bn", "/duplicated")  # what it adds to the name of a node that it puts another in place of
TYPES = {"float": "f32", "float16": "f16", "bfloat16": "bf16", "uint8": "u8", "int8": "i8"}
CONVOLUTIONS = ("Conv", "ConvTranspose")


def profile(
    folder: Path, manifest: Manifest, crops: np.ndarray, runs: int, progress: Progress = no_progress
) -> list[TimedLayer]:
    """Time every node that is executed; see `hgedge.backends.base`.

    Raises:
        EngineMismatch: ONNX Runtime cannot load the graph.
    """
    path = file_of(folder, manifest, "model.onnx")
    images = normalised(crops, manifest.input)
    with tempfile.TemporaryDirectory() as place:
        session = _profiled(path, place)
        for done in range(PROFILE_WARMUP + runs):
            session.run(["heatmaps"], {"image": images})
            progress("profile", done + 1, PROFILE_WARMUP + runs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _layers(events, _convolutions(path))


def _profiled(path: Path, place: str) -> onnxruntime.InferenceSession:
    """The session that `session.load` makes, with a profiler that writes into a folder."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = QUIET
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(place, "profile")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises types of its own
        raise EngineMismatch(f"ONNX Runtime cannot load {path}: {error}") from error


def _layers(events: Iterable[Mapping[str, Any]], convolutions: Mapping[str, str]) -> list[TimedLayer]:
    """What a trace tells of nodes; its times are whole microseconds."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    samples: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(TIMED):
            node = (event["name"].removesuffix(TIMED), event["args"].get("node_index", ""))
            found[node] = event["args"]
            samples.setdefault(node, []).append(event["dur"] / 1e3)
    layers = []
    for (name, index), told in found.items():
        kind, original = told["op_name"], name
        for suffix in ADDED:
            original = original.removesuffix(suffix)
        read = next((element for each in told.get("input_type_shape", ()) for element in each), "?")
        nodes = [convolutions[original]] if "Conv" in kind and original in convolutions else []
        called, taken = name or f"{kind} {index}", tuple(samples[name, index][PROFILE_WARMUP:])
        layers.append(TimedLayer(called, kind, TYPES.get(read, read), taken, tuple(dict.fromkeys((*nodes, original)))))
    return layers


def _convolutions(path: Path) -> dict[str, str]:
    """Names that a convolution's place may go by, its own and those of what it makes and of what reads that, -> its."""
    try:
        import onnx
    except ModuleNotFoundError:
        return {}  # nobody looks for convolutions where no graph can be read
    nodes = onnx.load(path).graph.node
    made = {node.output[0]: node.name for node in nodes if node.op_type in CONVOLUTIONS}
    readers = [(node, made[name]) for node in nodes for name in node.input[:1] if name in made]
    read = {called: name for node, name in readers for called in (node.output[0], node.name)}
    return read | made | {name: name for name in made.values()}
