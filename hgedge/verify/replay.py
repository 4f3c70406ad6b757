"""Replay a bundle's golden inputs stage by stage, and name the mistake where two sides part.

Each stage takes what comes before it for right, so that one mistake is told once. See `hgedge.verify.heatmaps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hgedge.bundle import engine_of, file_of, read_manifest
from hgedge.errors import BackendUnavailable
from hgedge.runtime.golden import GOLDEN
from hgedge.runtime.pipeline import Pipeline, load
from hgedge.spec import Manifest
from hgedge.verify import crops, heatmaps, keypoints, nearness
from hgedge.verify.graph import runner
from hgedge.verify.heatmaps import Found, Replay
from hgedge.verify.mistakes import mistake
from hgedge.verify.report import Mistake, Report, Stage

STRAIGHT = np.array([[1.0, 0, 0], [0, 1, 0]])  # frame pixels are input pixels
NO_RUNNER = "no graph can be run here: pip install 'hgedge[onnxruntime]'"


def verify(bundle: Path) -> Report:
    """Check a bundle against its golden inputs.

    Raises:
        EngineMismatch: The bundle is not whole, or does not fit this machine.
        BackendUnavailable: Its backend is not installed.
    """
    with load(bundle) as pipeline:
        manifest = pipeline.manifest or read_manifest(bundle)
        found = list(_stages(bundle, pipeline, manifest))
    stages = tuple(stage for some, _ in found for stage in some)
    mistakes = tuple(_told_once([one for _, some in found for one in some]))
    backend, _ = engine_of(bundle, manifest)
    return Report(bundle, manifest.precision, backend.name, stages, mistakes, not mistakes)


def _stages(folder: Path, pipeline: Pipeline, manifest: Manifest) -> Iterator[Found]:
    with np.load(file_of(folder, manifest, GOLDEN), allow_pickle=False) as golden:
        inputs, fp32 = golden["crops"], golden["fp32_heatmaps"]
        measured = golden["engine_heatmaps"] if "engine_heatmaps" in golden else None
    yield from _crops(pipeline, inputs, manifest)
    engine = nearness.run(pipeline.session, inputs)
    if not np.isfinite(engine).all():
        yield [], [mistake("not-finite", "engine", float("nan"))]
        return
    limit = nearness.limit(pipeline.session, inputs, engine, manifest.precision)
    replay = Replay(folder, manifest, pipeline.session, inputs, fp32, measured, engine, limit)
    yield from _heatmaps(replay)
    yield heatmaps.as_measured(replay)
    yield keypoints.decoding(lambda maps: _decoded(pipeline, maps), engine, manifest.decode)
    yield [keypoints.agreement(engine, fp32, manifest.decode)], []
    yield keypoints.sides(manifest.keypoints)


def _crops(pipeline: Pipeline, inputs: np.ndarray, manifest: Manifest) -> Iterator[Found]:
    """This machine's cropping, and that of the golden inputs; both need OpenCV."""
    try:
        from hgedge.builder.golden_crops import PHOTOGRAPH, first_box
        from hgedge.sources.images import read_picture

        yield crops.here(pipeline.crops, manifest.input.hw)
        photograph = read_picture(PHOTOGRAPH)
        yield crops.golden(inputs[0], photograph, first_box(photograph, manifest.keypoints))
    except (BackendUnavailable, ModuleNotFoundError) as error:
        yield [Stage("crop", "this machine's and the golden inputs", "exact crop", note=str(error))], []


def _heatmaps(replay: Replay) -> Iterator[Found]:
    """From the manifest's normalisation to the engine; with less at hand, what can be told without it."""
    if runner() is None:
        yield [Stage("normalised input", "source.onnx", "golden FP32", note=NO_RUNNER)], []
        yield [Stage("heatmaps", "model.onnx", "source.onnx", note=NO_RUNNER)], []
        yield heatmaps.engine_alone(replay)
        return
    found, spec = heatmaps.normalised_input(replay)
    yield found
    if spec is None:  # what the graphs take is not known
        yield heatmaps.engine_alone(replay)
        return
    yield heatmaps.quantised_graph(replay, spec)
    yield heatmaps.engine(replay, spec)


def _decoded(pipeline: Pipeline, maps: np.ndarray) -> np.ndarray:
    height, width = pipeline.input.hw
    box = np.array([-0.5, -0.5, width - 0.5, height - 0.5])
    return np.stack([pose.keypoints for pose in pipeline.poses(maps, [STRAIGHT] * len(maps), [box] * len(maps))])


def _told_once(mistakes: list[Mistake]) -> list[Mistake]:
    """Each mistake where it shows first, without what follows from others.

    An engine that reads the manifest when it runs shares the manifest's mistake; one with a known mistake may well not
    be as measured; and one that is saturated is no measure of its own noise, so it may seem far from its graph.
    """
    first = {one.name: one for one in reversed(mistakes)}
    follows = {"not-as-measured"} | ({"unknown"} if "saturated-int8" in first else set())
    told = [one for one in mistakes if one is first[one.name]]
    return [one for one in told if one.name not in follows] or told
