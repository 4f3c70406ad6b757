"""A build that starts from somebody else's ONNX file: what the file does not say comes from options."""

from __future__ import annotations

import difflib
import hashlib
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgedge import records
from hgedge.builder.golden_crops import golden_crops
from hgedge.builder.network import Network
from hgedge.builder.options import BuildOptions
from hgedge.datasets.keypoint_sets import KEYPOINT_SETS
from hgedge.errors import ConfigError
from hgedge.pose import KeypointSet
from hgedge.runtime.golden import Golden
from hgedge.runtime.preprocess import normalise
from hgedge.spec import DecodeSpec, InputSpec

if TYPE_CHECKING:
    import onnx

    from hgedge.export.onnx_ends import ImageInput

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxNetwork(Network):
    """The network of an ONNX file, brought to hgedge's form and checked against the file."""

    model: onnx.ModelProto
    sized_by_file: bool

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The input's size where the file leaves it free."""
        return () if self.sized_by_file else ("x".join(map(str, self.input.hw)),)

    def graph(self) -> onnx.ModelProto:
        """The FP32 graph."""
        return self.model

    def golden(self) -> Golden:
        """The golden inputs, and what ONNX Runtime makes of them in FP32."""
        from hgedge.export.onnx_ends import run_onnx

        crops = golden_crops(self.input, self.keypoints)
        images, graph = normalise(crops, self.input), self.model.SerializeToString()
        made = [run_onnx(graph, {"image": images[i : i + 1]}, self.name)["heatmaps"] for i in range(len(images))]
        return Golden(crops, np.concatenate(made))


def network_from_onnx(path: Path, options: BuildOptions) -> OnnxNetwork:
    """The network of an ONNX file.

    Raises:
        ExportError: The file cannot be read, or is no float network with a picture as input and heatmaps as output.
        ConfigError: An option does not go with it.
        BackendUnavailable: ONNX Runtime is not installed.
    """
    from hgedge.export.from_onnx import graph_from_onnx
    from hgedge.export.onnx_ends import image_input
    from hgedge.export.read_onnx import read_onnx

    if options.num_stacks is not None:
        raise ConfigError("--num-stacks needs a checkpoint; of an ONNX file, name the stack's output: --heatmaps NAME")
    if options.backend == "torch":
        raise ConfigError(f"backend torch runs checkpoints, but {path} is an ONNX file; choose another --backend")
    keypoints = _known_keypoints(options.keypoints)
    model = read_onnx(path)
    image = image_input(model, options.input_hw, path)
    spec = _input_spec(image, options)
    picture = normalise(golden_crops(spec)[:1], spec)[0]
    count = None if keypoints is None else len(keypoints)
    ours = graph_from_onnx(path, model, image, picture, options.heatmaps, count)
    if not ours.free_batch and options.batch != (1,):
        raise ConfigError(f"{path} computes one picture at a time, but --batch asks for {options.batch}; leave it out")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "onnx"
    heatmaps = ours.heatmaps
    return OnnxNetwork(
        name,
        hashlib.sha256(ours.model.SerializeToString(deterministic=True)).hexdigest(),
        spec,
        keypoints or _numbered(name, heatmaps.channels),
        DecodeSpec(stride=image.hw[0] / heatmaps.hw[0]),
        heatmaps.num_stacks,
        _parameters(ours.model),
        ours.model,
        image.sized_by_file,
    )


def _input_spec(image: ImageInput, options: BuildOptions) -> InputSpec:
    """How pictures are normalised, and a line in the log that says it."""
    color = options.color or ("rgb" if image.channels == 3 else "gray")
    mean, std = (
        values * image.channels if len(values) == 1 else values
        for values in (options.mean or (0.0,), options.std or (1.0,))
    )
    if (color == "gray") != (image.channels == 1):
        raise ConfigError(
            f"--color {color} does not go with the network's input, which takes {image.channels} channels"
        )
    spec = InputSpec(image.hw, color, mean, std)
    unsaid = [f"--{name}" for name in ("color", "mean", "std") if getattr(options, name) is None]
    log.info(
        "input: %s, (pixel / 255 - %s) / %s, %s%s",
        *(color, spec.mean, spec.std, image.layout),
        f"; {', '.join(unsaid)} by default" if unsaid else "",
    )
    return spec


def _known_keypoints(asked: str | None) -> KeypointSet | None:
    """The keypoint set of a name or of a TOML file.

    Raises:
        ConfigError: There is none.
    """
    if asked is None:
        return None
    if asked.endswith(".toml"):
        return records.from_toml(KeypointSet, Path(asked))
    if asked in KEYPOINT_SETS:
        return KEYPOINT_SETS[asked]
    near = difflib.get_close_matches(asked, KEYPOINT_SETS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"--keypoints must be a TOML file or one of {', '.join(sorted(KEYPOINT_SETS))}, but got {asked!r}{hint}"
    )


def _numbered(name: str, count: int) -> KeypointSet:
    log.warning("no --keypoints: %d keypoints without names or skeleton, called 0 to %d", count, count - 1)
    return KeypointSet(name, tuple(map(str, range(count))), (), tuple(range(count)))


def _parameters(model: onnx.ModelProto) -> int:
    """How many float weights a graph has."""
    return sum(
        math.prod(item.dims) for item in model.graph.initializer if item.data_type == model.graph.initializer[0].FLOAT
    )
