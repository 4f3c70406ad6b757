"""What a build starts from: a checkpoint, or a bundle's portable half; both give an FP32 graph and golden outputs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgedge.builder.golden import Golden, golden_crops, load_golden, run_one_by_one
from hgedge.builder.options import BuildOptions
from hgedge.bundle import open_bundle
from hgedge.errors import ConfigError, QuantizationError
from hgedge.pose import KeypointSet
from hgedge.runtime.preprocess import normalise
from hgedge.spec import DecodeSpec, InputSpec, Manifest

if TYPE_CHECKING:
    from hgedge.checkpoints import Checkpoint
    from hgedge.quantization.ranges import RangeTable


@dataclass(frozen=True)
class Network:
    """A network to build engines of; `num_stacks` is the number that is kept."""

    name: str
    sha256: str
    input: InputSpec
    keypoints: KeypointSet
    decode: DecodeSpec
    num_stacks: int
    parameters: int
    checkpoint: Checkpoint | None = None
    bundle: Path | None = None
    calibration_digest: str = ""

    def graph(self) -> Any:
        """The FP32 graph (onnx.ModelProto): exported and checked against PyTorch, or the bundle's own."""
        import onnx

        if self.bundle is not None:
            return onnx.load(self.bundle / "source.onnx")
        from hgedge.export.to_onnx import onnx_from_network
        from hgedge.export.verify import verify_onnx

        assert self.checkpoint is not None
        graph = onnx_from_network(self.checkpoint.net, self.input, self.num_stacks)
        photograph = normalise(golden_crops(self.input)[:1], self.input)
        verify_onnx(graph, self.checkpoint.net, self.input, photograph, self.num_stacks)
        return graph

    def golden(self) -> Golden:
        """The golden inputs, and what FP32 makes of them: in PyTorch, or as the bundle tells."""
        if self.bundle is not None:
            return load_golden(self.bundle / "golden.npz")
        from hgedge.backends.torch.session import TorchSession

        assert self.checkpoint is not None
        crops = golden_crops(self.input)
        session = TorchSession(self.checkpoint.net, self.input, num_stacks=self.num_stacks)
        return Golden(crops, run_one_by_one(session, crops))

    def own_ranges(self) -> RangeTable:
        """The ranges that the bundle carries."""
        from hgedge.quantization.ranges import load_table

        assert self.bundle is not None
        return load_table(self.bundle / "calibration.json")


def network_of(options: BuildOptions) -> Network:
    """The network that a build starts from.

    Raises:
        CheckpointError: The model is no checkpoint that hgedge knows.
        EngineMismatch: The model is a folder, but no whole bundle.
        ConfigError: An option does not go with the model.
    """
    if options.model is not None and Path(options.model).is_dir():
        return _from_bundle(Path(options.model), options)
    from hgedge.checkpoints import resolve

    checkpoint = resolve(options.model)
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
    return Network(
        checkpoint.name,
        checkpoint.sha256,
        spec,
        checkpoint.keypoints,
        checkpoint.decode,
        stacks,
        parameters,
        checkpoint,
    )


def _from_bundle(folder: Path, options: BuildOptions) -> Network:
    manifest: Manifest = open_bundle(folder)
    for option, value in (("--num-stacks", options.num_stacks), ("--input", options.input_hw)):
        if value is not None:
            raise ConfigError(f"{option} needs the checkpoint, but {folder} is a bundle; build from the checkpoint")
    if options.precision == "int8" and manifest.calibration is None and options.calibration is None:
        raise QuantizationError(
            f"{folder} carries no ranges, as it was built in {manifest.precision}; give pictures: --calibration FOLDER"
        )
    return Network(
        manifest.model.name,
        manifest.model.sha256,
        manifest.input,
        manifest.keypoints,
        manifest.decode,
        manifest.model.num_stacks,
        manifest.model.parameters,
        bundle=folder,
        calibration_digest=manifest.calibration.digest if manifest.calibration else "",
    )
