"""The stages between a crop and its heatmaps, each with what comes before it taken for right.

golden FP32 heatmaps  =  source.onnx on pictures normalised as the manifest says        (normalised input)
source.onnx           ~  model.onnx, up to what INT8 costs                              (heatmaps)
model.onnx            ~  engine, up to what rounding does                               (heatmaps)
engine as measured    ~  engine now, likewise                                           (heatmaps)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from hgedge.backends.base import Session
from hgedge.runtime.preprocess import normalise
from hgedge.spec import InputSpec, Manifest
from hgedge.verify import nearness
from hgedge.verify.explain import Guess, best, engine_guesses, input_guesses, output_guesses
from hgedge.verify.graph import Graph, inside
from hgedge.verify.mistakes import mistake
from hgedge.verify.nearness import relative_rmse
from hgedge.verify.report import Mistake, Stage

LOST = 0.35  # relative RMSE of INT8 from which on a mistake is looked for; the default model's is 0.06 to 0.09
ALL_LOST = 0.7  # relative RMSE of INT8 that no right graph has: half is wrong; the worst that was measured is 0.28
COSTLY = "INT8 costs much on these pictures, and no known mistake explains it; measure with: hgedge evaluate"
AT_LIMITS = 0.1  # share of a tensor's values; of right ranges at most 0.06, of ranges half as wide 0.2 to 0.3
FIGURE = "relative RMSE"
RANGES = ("values at their limits", "INT8 ranges of model.onnx")
NO_ONNX = "onnx is not installed: pip install 'hgedge[build]'"
NOT_MEASURED = "golden.npz does not tell what the engine gave"
Found = tuple[list[Stage], list[Mistake]]


@dataclasses.dataclass(frozen=True)
class Replay:
    """What the golden inputs gave.

    Attributes:
        folder: The bundle, whose hashes hold.
        manifest: Its manifest.
        session: Its engine.
        crops: (G, H, W, C) uint8.
        fp32: (G, K, h, w) heatmaps of the unquantised network, when it was built.
        measured: The same of the engine when it was measured, or None where golden.npz does not tell.
        engine: The same of the engine now.
        limit: Relative RMSE up to which heatmaps are the engine's own.
    """

    folder: Path
    manifest: Manifest
    session: Session
    crops: np.ndarray
    fp32: np.ndarray
    measured: np.ndarray | None
    engine: np.ndarray
    limit: float

    @cached_property
    def source(self) -> Graph:
        """The FP32 graph."""
        return Graph(self.folder / "source.onnx")

    @cached_property
    def model(self) -> Graph:
        """The graph that the engine was built from."""
        return Graph(self.folder / "model.onnx")


def compare(of: str, against: str, found: np.ndarray, expected: np.ndarray, limit: float) -> Stage:
    """The stage of two sets of heatmaps."""
    gap, value = np.abs(found - expected), relative_rmse(found, expected)
    figures = (float(gap.max()), float(gap.mean()), "heatmap", value, limit, FIGURE)
    return Stage("heatmaps", of, against, *figures, ok=value <= limit)


def explained(stage: Stage, found: np.ndarray, guesses: Iterable[Guess], where: str) -> tuple[list[Mistake], Guess]:
    """The mistakes behind a stage that is not ok, and the guess that told them; an empty one where none did."""
    before = stage.value or 0.0
    guess = best(found, guesses, before, stage.limit or 0.0)
    if guess is None:
        return [mistake("unknown", where, before)], Guess((), lambda found: float("inf"))
    return [mistake(name, where, before, guess[1], _told(guess[0])) for name in guess[0].names], guess[0]


def _told(guess: Guess) -> str:
    spec = guess.input
    return "" if spec is None else f" ({spec.color}, mean {_short(spec.mean)}, std {_short(spec.std)} explains it)"


def _short(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def normalised_input(replay: Replay) -> tuple[Found, InputSpec | None]:
    """The FP32 graph on pictures normalised as the manifest says, against the golden FP32 heatmaps.

    Returns:
        Stage and mistakes, and how pictures were normalised when the bundle was built; None where that is not known.
    """
    spec, source = replay.manifest.input, replay.source
    images = normalise(replay.crops, spec)
    made = source.heatmaps(images)
    stage = compare("source.onnx, on input as in the manifest", "golden FP32", made, replay.fp32, nearness.SAME_GRAPH)
    stage = dataclasses.replace(stage, stage="normalised input")
    if stage.ok:
        return ([stage], []), spec
    guesses = chain(input_guesses(source, replay.crops, spec), output_guesses(source, images, made, replay.manifest))
    mistakes, guess = explained(stage, replay.fp32, guesses, "manifest.json, source.onnx or golden.npz")
    return ([stage], mistakes), (guess.input or spec) if guess.names else None


def quantised_graph(replay: Replay, spec: InputSpec) -> Found:
    """The graph that the engine was built from, against the FP32 graph."""
    source, model = replay.source, replay.model
    images = normalise(replay.crops, spec)
    expected, found = source.heatmaps(images), model.heatmaps(images)
    precision = replay.manifest.precision
    limit = LOST if precision == "int8" else nearness.SAME_GRAPH + nearness.ROUNDOFFS * nearness.ROUNDOFF[precision]
    stage = compare("model.onnx", "source.onnx", found, expected, limit)
    ranges = list(_ranges(model, images, bool(stage.ok))) if precision == "int8" else []
    if stage.ok:
        return [stage, *ranges], []
    guesses = chain(
        output_guesses(source, images, expected, replay.manifest), input_guesses(source, replay.crops, spec)
    )
    mistakes, guess = explained(stage, found, guesses, "model.onnx")
    if not guess.names and any(row.ok is False for row in ranges):
        mistakes = [mistake("saturated-int8", "model.onnx", stage.value or 0.0, more=f" ({ranges[0].note})")]
    stage, mistakes = _forgiven(stage, mistakes, precision)
    return [stage, *ranges], mistakes


def _forgiven(stage: Stage, mistakes: list[Mistake], precision: str) -> tuple[Stage, list[Mistake]]:
    """INT8 may cost much on pictures unlike those that the network knows: that alone is no mistake, but told."""
    unknown = [one.name for one in mistakes] == ["unknown"]
    if precision != "int8" or not unknown or (stage.value or 0.0) > ALL_LOST:
        return stage, mistakes
    return dataclasses.replace(stage, ok=None, note=COSTLY), []


def _ranges(model: Graph, images: np.ndarray, agree: bool) -> Iterator[Stage]:
    """How many values lie at the limits of INT8: too many are a mistake where the heatmaps part as well.

    Where they do not, it is what a network is like: after a ReLU6 many values are 6.
    """
    if not inside():
        yield Stage("heatmaps", *RANGES, note=NO_ONNX)
    elif shares := model.at_limits(images):
        worst = max(shares, key=lambda name: shares[name])
        mean, most = float(np.mean(list(shares.values()))), shares[worst]
        note = f"most in {worst.removesuffix('.quantized')}"
        figures = (most, mean, "share", most, AT_LIMITS, "share of a tensor")
        yield Stage("heatmaps", RANGES[0], RANGES[1], *figures, ok=agree or most <= AT_LIMITS, note=note)


def engine(replay: Replay, spec: InputSpec) -> Found:
    """The engine against the graph that it was built from."""
    model, images = replay.model, normalise(replay.crops, spec)
    expected = model.heatmaps(images)
    stage = compare("engine", "model.onnx", replay.engine, expected, replay.limit)
    if stage.ok:
        return [stage], []
    guesses = chain(
        input_guesses(model, replay.crops, spec), output_guesses(replay.source, images, expected, replay.manifest)
    )
    return [stage], explained(stage, replay.engine, guesses, "engine")[0]


def engine_alone(replay: Replay) -> Found:
    """The engine against the golden FP32 heatmaps, where no graph can be run."""
    limit = LOST if replay.manifest.precision == "int8" else replay.limit
    stage = compare("engine", "golden FP32", replay.engine, replay.fp32, limit)
    if stage.ok:
        return [stage], []
    guesses = engine_guesses(replay.session, replay.crops, replay.fp32, replay.manifest)
    mistakes, _ = explained(stage, replay.engine, guesses, "engine")
    stage, mistakes = _forgiven(stage, mistakes, replay.manifest.precision)
    return [stage], mistakes


def as_measured(replay: Replay) -> Found:
    """The engine now, against the engine when it was measured."""
    if replay.measured is None:
        return [Stage("heatmaps", "engine", "engine as measured", note=NOT_MEASURED)], []
    stage = compare("engine", "engine as measured", replay.engine, replay.measured, replay.limit)
    return [stage], [] if stage.ok else [mistake("not-as-measured", "engine", stage.value or 0.0)]
