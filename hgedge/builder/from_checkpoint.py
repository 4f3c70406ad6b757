"""A build that starts from a PyTorch checkpoint: export, and check against PyTorch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hgedge.checkpoints
from hgedge.backends.torch.session import TorchSession
from hgedge.builder.golden_crops import golden_crops
from hgedge.builder.network import Network
from hgedge.builder.options import BuildOptions
from hgedge.checkpoints import Checkpoint
from hgedge.errors import ConfigError
from hgedge.export.to_onnx import onnx_from_network
from hgedge.export.verify import verify_onnx
from hgedge.models.zoo import DEFAULT, shipped_ranges
from hgedge.runtime.golden import Golden, run_one_by_one
from hgedge.runtime.preprocess import normalise

if TYPE_CHECKING:
    import onnx

    from hgedge.quantization.ranges import RangeTable


@dataclass(frozen=True)
class CheckpointNetwork(Network):
    """The network of a checkpoint, with as many stacks and such an input as were asked for."""

    source: Checkpoint
    zoo_name: str | None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Stacks and input that are not the checkpoint's own."""
        stacks = (f"{self.num_stacks}stack",) if self.num_stacks != self.source.net.config.num_stacks else ()
        size = ("x".join(map(str, self.input.hw)),) if self.input.hw != self.source.input.hw else ()
        return stacks + size

    @property
    def checkpoint(self) -> Checkpoint:
        """Its PyTorch weights."""
        return self.source

    def graph(self) -> onnx.ModelProto:
        """The FP32 graph, exported and checked against PyTorch."""
        graph = onnx_from_network(self.source.net, self.input, self.num_stacks)
        photograph = normalise(golden_crops(self.input, self.keypoints)[:1], self.input)
        verify_onnx(graph, self.source.net, self.input, photograph, self.num_stacks)
        return graph

    def golden(self) -> Golden:
        """The golden inputs, and what PyTorch makes of them."""
        crops = golden_crops(self.input, self.keypoints)
        session = TorchSession(self.source.net, self.input, num_stacks=self.num_stacks)
        return Golden(crops, run_one_by_one(session, crops))

    def own_ranges(self) -> RangeTable | None:
        """The ranges that are shipped with a named model."""
        from hgedge.quantization.ranges import load_table

        shipped = shipped_ranges(self.zoo_name) if self.zoo_name else None
        return load_table(shipped) if shipped else None


def network_from_checkpoint(options: BuildOptions) -> CheckpointNetwork:
    """The network of a checkpoint or of a named model.

    Raises:
        CheckpointError: The model is no checkpoint that hgedge knows.
        ConfigError: An option does not go with it.
    """
    checkpoint = hgedge.checkpoints.resolve(options.model)
    config = checkpoint.net.config
    stacks = options.num_stacks or config.num_stacks
    if stacks > config.num_stacks:
        raise ConfigError(f"{checkpoint.name} has {config.num_stacks} stacks, but --num-stacks asks for {stacks}")
    spec = checkpoint.input
    if options.input_hw is not None:
        if any(size % config.input_multiple for size in options.input_hw):
            raise ConfigError(f"--input must be multiples of {config.input_multiple}, but got {options.input_hw}")
        spec = dataclasses.replace(spec, hw=options.input_hw)
    parameters = sum(parameter.numel() for parameter in checkpoint.net.parameters())
    return CheckpointNetwork(
        checkpoint.name,
        checkpoint.sha256,
        spec,
        checkpoint.keypoints,
        checkpoint.decode,
        stacks,
        parameters,
        checkpoint,
        options.model or DEFAULT,
    )
