"""What a build starts from: a checkpoint, an ONNX file, or a bundle's portable half."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.builder.options import ONNX_ONLY, BuildOptions
from hgedge.errors import ConfigError
from hgedge.models.zoo import DEFAULT, SIZES, shipped_half
from hgedge.pose import KeypointSet
from hgedge.runtime.golden import Golden
from hgedge.spec import DecodeSpec, InputSpec

if TYPE_CHECKING:
    import onnx

    from hgedge.checkpoints import Checkpoint
    from hgedge.quantization.ranges import RangeTable


@dataclass(frozen=True)
class Network:
    """A network to build engines of.

    Attributes:
        sha256: Over its weights.
        num_stacks: That are kept.
    """

    name: str
    sha256: str
    input: InputSpec
    keypoints: KeypointSet
    decode: DecodeSpec
    num_stacks: int
    parameters: int

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What a bundle's name says of it beside its own: stacks or input that are not the default."""
        return ()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Its PyTorch weights, where it has any."""
        return None

    @property
    def assignment(self) -> tuple[str, tuple[str, ...]]:
        """The placement, and the groups that stay float, where nothing else is asked for."""
        return "stream", ()

    @property
    def kept_fp32(self) -> tuple[str, ...] | None:
        """Layers that are known to need FP32 where the rest is FP16; None: nobody has looked."""
        return None

    def graph(self) -> onnx.ModelProto:
        """The FP32 graph."""
        raise NotImplementedError

    def golden(self) -> Golden:
        """The golden inputs, and what FP32 makes of them."""
        raise NotImplementedError

    def own_ranges(self) -> RangeTable | None:
        """The ranges that come with it, or None."""
        return None


def network_of(options: BuildOptions) -> Network:
    """The network that a build starts from, decoded as asked for.

    Raises:
        CheckpointError: The model is no checkpoint that hgedge knows.
        ExportError: The model is an ONNX file that cannot be used.
        EngineMismatch: The model is a folder, but no whole bundle.
        ConfigError: An option does not go with the model.
    """
    network = _opened(options)
    decode = dataclasses.replace(network.decode, refinement=options.refinement or network.decode.refinement)
    return dataclasses.replace(network, decode=decode)


def _opened(options: BuildOptions) -> Network:
    """The network as its model tells of it.

    A model that is shipped starts from its portable half, which needs no PyTorch, unless something is asked of it that
    only its checkpoint can give: another input or number of stacks, or an engine of PyTorch itself.
    """
    from hgedge.builder.from_bundle import network_from_bundle

    model = options.model or DEFAULT
    if model.lower().endswith(".onnx") and not Path(model).is_dir():
        from hgedge.builder.from_onnx import network_from_onnx

        return network_from_onnx(Path(model), options)
    _refuse_onnx_options(model, options)
    half = shipped_half(model)
    if half is not None and options.num_stacks is None and options.input_hw is None and options.backend != "torch":
        return network_from_bundle(half, options)
    if model not in SIZES and Path(model).is_dir():
        return network_from_bundle(Path(model), options)
    from hgedge.builder.from_checkpoint import network_from_checkpoint

    return network_from_checkpoint(options)


def _refuse_onnx_options(model: str, options: BuildOptions) -> None:
    asked = next((name for name in ONNX_ONLY if getattr(options, name) is not None), None)
    if asked is not None:
        raise ConfigError(f"--{asked} goes with an ONNX file, but {model} is none, and says it itself; leave it out")
