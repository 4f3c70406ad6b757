"""A build that starts from a bundle's portable half: neither PyTorch nor OpenCV is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.builder.network import Network
from hgedge.builder.options import BuildOptions
from hgedge.bundle import file_of, open_bundle
from hgedge.errors import ConfigError
from hgedge.runtime.golden import GOLDEN, Golden, load_golden
from hgedge.spec import Manifest

if TYPE_CHECKING:
    import onnx

    from hgedge.quantization.ranges import RangeTable


@dataclass(frozen=True)
class BundleNetwork(Network):
    """The network of a bundle; its hashes hold."""

    bundle: Path
    manifest: Manifest

    @property
    def assignment(self) -> tuple[str, tuple[str, ...]]:
        """The bundle's own."""
        info = self.manifest.calibration
        return super().assignment if info is None else (info.placement, info.float_groups)

    @property
    def kept_fp32(self) -> tuple[str, ...] | None:
        """Those that the bundle names."""
        return self.manifest.kept_fp32

    def graph(self) -> onnx.ModelProto:
        """The bundle's own FP32 graph."""
        import onnx

        return onnx.load(file_of(self.bundle, self.manifest, "source.onnx"))

    def golden(self) -> Golden:
        """The bundle's own golden inputs."""
        return load_golden(file_of(self.bundle, self.manifest, GOLDEN))

    def own_ranges(self) -> RangeTable | None:
        """The ranges that the bundle carries."""
        from hgedge.quantization.ranges import load_table

        if self.manifest.calibration is None:
            return None
        return load_table(file_of(self.bundle, self.manifest, "calibration.json"))


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
        manifest,
    )
