"""A build that starts from a bundle's portable half: neither PyTorch nor OpenCV is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.builder.network import Network
from hgedge.builder.options import BuildOptions
from hgedge.bundle import open_bundle
from hgedge.errors import ConfigError
from hgedge.runtime.golden import GOLDEN, Golden, load_golden

if TYPE_CHECKING:
    import onnx

    from hgedge.quantization.ranges import RangeTable


@dataclass(frozen=True)
class BundleNetwork(Network):
    """The network of a bundle; its hashes hold."""

    bundle: Path
    has_ranges: bool

    def graph(self) -> onnx.ModelProto:
        """The bundle's own FP32 graph."""
        import onnx

        return onnx.load(self.bundle / "source.onnx")

    def golden(self) -> Golden:
        """The bundle's own golden inputs."""
        return load_golden(self.bundle / GOLDEN)

    def own_ranges(self) -> RangeTable | None:
        """The ranges that the bundle carries."""
        from hgedge.quantization.ranges import load_table

        return load_table(self.bundle / "calibration.json") if self.has_ranges else None


def network_from_bundle(folder: Path, options: BuildOptions) -> BundleNetwork:
    """The network of a bundle.

    Raises:
        EngineMismatch: The folder is no whole bundle.
        ConfigError: An option asks for what only the checkpoint can give.
    """
    manifest = open_bundle(folder)
    for option, value in (("--num-stacks", options.num_stacks), ("--input", options.input_hw)):
        if value is not None:
            raise ConfigError(f"{option} needs the checkpoint, but {folder} is a bundle; build from the checkpoint")
    return BundleNetwork(
        manifest.model.name,
        manifest.model.sha256,
        manifest.input,
        manifest.keypoints,
        manifest.decode,
        manifest.model.num_stacks,
        manifest.model.parameters,
        folder,
        manifest.calibration is not None,
    )
