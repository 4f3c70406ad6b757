"""What published networks call their tensors, and what we call them.

A lineage is one family of published checkpoints: a function that reads the network's config off its tensors, and one
that pairs our modules with theirs. The pairs give the map both ways; a new lineage is two functions and a table entry.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from hgedge.datasets.keypoint_sets import FACE15, LSP14, MPII16
from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec, InputSpec

Shapes = Mapping[str, tuple[int, ...]]
MAX_COUNT = 16  # stacks, blocks or levels: no network has more, and a made-up file must not cost minutes
COUNTER = "num_batches_tracked"  # kept by newer PyTorch only, and of no use after training


@dataclass(frozen=True)
class Lineage:
    """One family of published checkpoints.

    Attributes:
        name: As error messages call it.
        infer: Reads the config off the shapes of their tensors, with a guess where one is missing.
        modules: Pairs of module paths (ours, theirs); what lies below a pair's module has the same name in both.
        residual: What they call the parts of a residual, where it differs from ours.
        input: What the networks were trained on.
        keypoints: The keypoint sets they were trained on, told apart by their number of keypoints.
        decode: How their heatmaps become keypoints.
        unused: What the names of tensors hold that a checkpoint may have but no prediction depends on.
    """

    name: str
    infer: Callable[[Shapes], HourglassConfig]
    modules: Callable[[HourglassConfig], Iterator[tuple[str, str]]]
    residual: Mapping[str, str] = field(default_factory=dict)
    input: InputSpec = field(default_factory=InputSpec)
    keypoints: tuple[KeypointSet, ...] = ()
    decode: DecodeSpec = field(default_factory=DecodeSpec)
    unused: str | None = None

    def config(self, shapes: Shapes) -> HourglassConfig:
        """The network that tensors of these names and shapes seem to belong to."""
        try:
            return self.infer(shapes)
        except ConfigError:  # sizes that no network can have; the shapes then differ from any config's
            return HourglassConfig()

    def theirs(self, config: HourglassConfig) -> dict[str, str]:
        """Our name of every tensor, to theirs; without the counters of batch normalisation."""
        modules = dict(self.modules(config))
        return {name: self._rename(name, modules) for name in tensor_shapes(config)}

    def ours(self, config: HourglassConfig) -> dict[str, str]:
        """Their name of every tensor, to ours."""
        return {theirs: ours for ours, theirs in self.theirs(config).items()}

    def ignored(self, names: Iterable[str], config: HourglassConfig) -> list[str]:
        """Those of their names that belong to unused layers."""
        if self.unused is None:
            return []
        used = self.ours(config)
        return [name for name in names if self.unused in name and name not in used]

    def _rename(self, name: str, modules: Mapping[str, str]) -> str:
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            path = ".".join(parts[:end])
            if path in modules:
                return ".".join([modules[path], *(self.residual.get(part, part) for part in parts[end:])])
        return name


@functools.lru_cache(maxsize=8)
def tensor_shapes(config: HourglassConfig) -> Shapes:
    """Name and shape of every tensor of our network; without the counters of batch normalisation."""
    with torch.device("meta"):  # no memory, no random numbers
        tensors = HourglassNet(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def distinct(shapes: Shapes, pattern: str) -> int:
    """How many different things the group of a pattern matches at the beginnings of names: 1 to MAX_COUNT."""
    found = (re.match(pattern, name) for name in shapes)
    return min(max(1, len({match[1] for match in found if match})), MAX_COUNT)


def axis(shapes: Shapes, name: str, index: int, default: int) -> int:
    """One axis of a tensor, or the default if it has none."""
    shape = shapes.get(name, ())
    return shape[index] if index < len(shape) else default


def hgedge_config(shapes: Shapes) -> HourglassConfig:
    """The config of a network under our own names."""
    out = "outs.0.conv.weight" if "outs.0.conv.weight" in shapes else "outs.0.weight"
    stem = "stem.conv1.weight" if "stem.conv1.weight" in shapes else "stem.conv.weight"
    late = "stem.residual3.skip.weight" in shapes
    return HourglassConfig(
        num_stacks=distinct(shapes, r"(?:hgs|features|outs)\.(\d+)\."),
        num_blocks=distinct(shapes, r"hgs\.0\.up\.(\d+)\."),
        num_features=axis(shapes, out, 1, 256),
        depth=distinct(shapes, r"hgs\.0((?:\.inner)*)\.up\."),
        num_keypoints=axis(shapes, out, 0, 16),
        in_channels=axis(shapes, stem, 1, 3),
        stem="pointwise" if "conv1" in stem else "conv7x7-late" if late else "conv7x7",
        head="rectified" if "conv" in out else "residual",
    )


def hgedge_modules(_config: HourglassConfig) -> Iterator[tuple[str, str]]:
    """No pair: every name is ours."""
    yield from ()


def anibali_config(shapes: Shapes) -> HourglassConfig:
    """The config of a network of the anibali lineage."""
    return HourglassConfig(
        num_stacks=distinct(shapes, r"(?:hg|res|fc|score)\.(\d+)\."),
        num_blocks=distinct(shapes, r"hg\.0\.hg\.0\.0\.(\d+)\."),
        num_features=axis(shapes, "score.0.weight", 1, 256),
        depth=distinct(shapes, r"hg\.0\.hg\.(\d+)\."),
        num_keypoints=axis(shapes, "score.0.weight", 0, 16),
        in_channels=axis(shapes, "conv1.weight", 1, 3),
    )


def anibali_modules(config: HourglassConfig) -> Iterator[tuple[str, str]]:
    """Modules of the anibali lineage; their levels count from the innermost, 0, to full resolution."""
    yield "stem.conv", "conv1"
    yield "stem.bn", "bn1"
    yield from ((f"stem.residual{i}", f"layer{i}.0") for i in (1, 2, 3))
    for s in range(config.num_stacks):
        for level in range(config.depth):
            hourglass = f"hgs.{s}" + ".inner" * (config.depth - 1 - level)
            for branch, ours in enumerate(("up", "down", "out")):
                yield f"{hourglass}.{ours}", f"hg.{s}.hg.{level}.{branch}"
        yield f"hgs.{s}" + ".inner" * config.depth, f"hg.{s}.hg.0.3"
        yield f"features.{s}.0", f"res.{s}"
        yield f"features.{s}.1", f"fc.{s}.0"
        yield f"features.{s}.2", f"fc.{s}.1"
        yield f"outs.{s}", f"score.{s}"
        yield f"merge_features.{s}", f"fc_.{s}"
        yield f"merge_preds.{s}", f"score_.{s}"


def princeton_config(shapes: Shapes) -> HourglassConfig:
    """The config of a network of the princeton-vl lineage."""
    return HourglassConfig(
        num_stacks=distinct(shapes, r"(?:hgs|features|outs)\.(\d+)\."),
        num_features=axis(shapes, "outs.0.conv.weight", 1, 256),
        depth=distinct(shapes, r"hgs\.0\.0((?:\.low2)*)\.up1\."),
        num_keypoints=axis(shapes, "outs.0.conv.weight", 0, 16),
        in_channels=axis(shapes, "pre.0.conv.weight", 1, 3),
        stem="conv7x7-late",
    )


def princeton_modules(config: HourglassConfig) -> Iterator[tuple[str, str]]:
    """Modules of the princeton-vl lineage; every layer of theirs is a module around its convolution."""
    yield "stem", "pre.0"
    yield from ((f"stem.residual{ours}", f"pre.{theirs}") for ours, theirs in ((1, 1), (2, 3), (3, 4)))
    for s in range(config.num_stacks):
        ours, theirs = f"hgs.{s}", f"hgs.{s}.0"
        for _ in range(config.depth):
            yield from (
                (f"{ours}.{a}.0", f"{theirs}.{b}") for a, b in (("up", "up1"), ("down", "low1"), ("out", "low3"))
            )
            ours, theirs = f"{ours}.inner", f"{theirs}.low2"
        yield f"{ours}.0", theirs
        yield f"features.{s}.0.0", f"features.{s}.0"
        yield f"features.{s}.1", f"features.{s}.1.conv"
        yield f"features.{s}.2", f"features.{s}.1.bn"
        yield f"outs.{s}", f"outs.{s}.conv"
        yield f"merge_features.{s}", f"merge_features.{s}.conv.conv"
        yield f"merge_preds.{s}", f"merge_preds.{s}.conv.conv"


def kfsgnet_config(shapes: Shapes) -> HourglassConfig:
    """The config of a network of the KFSGNet lineage."""
    return HourglassConfig(
        num_stacks=1,
        num_features=axis(shapes, "_KFSGNet__lin.conv.weight", 1, 128),
        depth=distinct(shapes, r"_KFSGNet__hg\.res(\d+)_"),
        num_keypoints=axis(shapes, "_KFSGNet__lin.conv.weight", 0, 15),
        in_channels=axis(shapes, "_KFSGNet__conv1.weight", 1, 1),
        stem="pointwise",
        head="rectified",
    )


def kfsgnet_modules(config: HourglassConfig) -> Iterator[tuple[str, str]]:
    """Modules of the KFSGNet lineage; their levels count from the innermost, 1, to full resolution."""
    yield "stem.conv1", "_KFSGNet__conv1"
    yield "stem.conv2", "_KFSGNet__conv2"
    for level in range(1, config.depth + 1):
        hourglass = "hgs.0" + ".inner" * (config.depth - level)
        for branch, ours in enumerate(("up", "down", "out"), start=1):
            yield f"{hourglass}.{ours}.0", f"_KFSGNet__hg.res{level}_{branch}"
    yield "hgs.0" + ".inner" * config.depth + ".0", "_KFSGNet__hg.res_center"
    yield "outs.0", "_KFSGNet__lin"


HGEDGE = Lineage("hgedge", hgedge_config, hgedge_modules)

ANIBALI = Lineage(  # github.com/anibali/pytorch-stacked-hourglass, and its parent bearpaw/pytorch-pose
    "anibali",
    anibali_config,
    anibali_modules,
    residual={"skip": "downsample.0"},
    input=InputSpec(hw=(256, 256), color="rgb", mean=(0.4404, 0.4440, 0.4327), std=(1.0, 1.0, 1.0)),
    keypoints=(MPII16, LSP14),
)

PRINCETON = Lineage(  # github.com/princeton-vl/pytorch_stacked_hourglass: it shifts peaks a quarter cell as we do,
    # but for borders and equal neighbours, where it goes down and we stay
    "princeton-vl",
    princeton_config,
    princeton_modules,
    residual={"conv1": "conv1.conv", "conv2": "conv2.conv", "conv3": "conv3.conv", "skip": "skip_layer.conv"},
    keypoints=(MPII16,),
    unused=".skip_layer.",  # every residual has one, and runs it only where the number of channels changes
)

KFSGNET = Lineage(  # github.com/raymon-tian/hourglass-facekeypoints-detection: a point is the argmax of its map
    "KFSGNet",
    kfsgnet_config,
    kfsgnet_modules,
    residual={f"bn{i}": f"convBlock.{3 * i - 3}" for i in (1, 2, 3)}
    | {f"conv{i}": f"convBlock.{3 * i - 1}" for i in (1, 2, 3)},
    input=InputSpec(hw=(96, 96), color="gray", mean=(0.0,), std=(1.0,)),
    keypoints=(FACE15,),
    decode=DecodeSpec(stride=1.0, shift=0.0),
)

LINEAGES = (ANIBALI, PRINCETON, KFSGNET)
