"""Golden inputs: a few crops that travel in every bundle, what FP32 makes of them, and how near an engine comes."""

from __future__ import annotations

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgedge.backends.base import Session
from hgedge.bundle import rebuild
from hgedge.errors import EngineMismatch, ExportError
from hgedge.runtime.decode import decode
from hgedge.spec import DecodeSpec, Manifest

GOLDEN = "golden.npz"
ADVICE = {
    "fp32": "check the weights of the network, and the mean and std of its input",
    "bf16": "build it with --precision fp32",
    "fp16": "show the range probe pictures like those that it will see: --calibration FOLDER, or build it in fp32",
    "int8": "calibrate it with pictures like those that it will see: --calibration FOLDER, or build it in fp32",
}  # where heatmaps are not finite


@dataclass(frozen=True)
class Golden:
    """Golden inputs and outputs.

    Attributes:
        crops: (G, H, W, C) uint8.
        fp32_heatmaps: (G, K, h, w) float32, of the unquantised network.
        engine_heatmaps: The same of the engine, or None where it has not run.
    """

    crops: np.ndarray
    fp32_heatmaps: np.ndarray
    engine_heatmaps: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        if self.engine_heatmaps is None:
            np.savez_compressed(path, crops=self.crops, fp32_heatmaps=self.fp32_heatmaps)
            return
        np.savez_compressed(
            path, crops=self.crops, fp32_heatmaps=self.fp32_heatmaps, engine_heatmaps=self.engine_heatmaps
        )


def load_golden(path: Path) -> Golden:
    """Read the golden file of a bundle whose hashes hold, without what its engine gave."""
    with np.load(path, allow_pickle=False) as arrays:
        return Golden(arrays["crops"], arrays["fp32_heatmaps"])


def check_golden(path: Path, manifest: Manifest) -> None:
    """Check a manifest against the golden file, whose hash holds: only the manifest itself has none.

    Raises:
        EngineMismatch: It tells of another input, other keypoints or another stride.
    """
    crops, heatmaps = (_shape(path, name) for name in ("crops", "fp32_heatmaps"))
    hw, stride = manifest.input.hw, manifest.decode.stride
    told = ((*hw, manifest.input.channels), (len(manifest.keypoints), *(size / stride for size in hw)))
    if (crops[1:], heatmaps[1:]) != told:
        raise EngineMismatch(
            f"{path.parent / 'manifest.json'} tells of crops {told[0]} and heatmaps {told[1]}, but {path.name} holds "
            f"{crops[1:]} and {heatmaps[1:]}; {rebuild(manifest)}"
        )


def _shape(path: Path, name: str) -> tuple[int, ...]:
    """Shape of an array in an .npz file, without reading it."""
    with zipfile.ZipFile(path) as arrays, arrays.open(f"{name}.npy") as array:
        np.lib.format.read_magic(array)
        return np.lib.format.read_array_header_1_0(array)[0]


def run_one_by_one(session: Session, crops: np.ndarray, precision: str = "fp32") -> np.ndarray:
    """Heatmaps of each crop, (G, K, h, w) float32.

    Raises:
        ExportError: A heatmap is not finite.
    """
    heatmaps = np.concatenate([np.array(session.run(crops[i : i + 1])) for i in range(len(crops))])
    check_finite(heatmaps, precision)
    return heatmaps


def check_finite(heatmaps: np.ndarray, precision: str = "fp32") -> None:
    """Raise ExportError for heatmaps (G, K, h, w) that are not finite, as no engine may give them."""
    finite = np.isfinite(heatmaps).reshape(len(heatmaps), -1).all(axis=1)
    if not finite.all():
        raise ExportError(
            f"in {precision}, {(~finite).sum()} of {len(finite)} golden inputs give heatmaps that are not finite; "
            + ADVICE[precision]
        )


def measure(session: Session, manifest: Manifest, golden: Golden) -> tuple[Manifest, Golden]:
    """Run an engine on the golden inputs: its manifest with the agreement in it, and what it gave.

    Raises:
        ExportError: A heatmap is not finite.
    """
    golden = dataclasses.replace(golden, engine_heatmaps=run_one_by_one(session, golden.crops, manifest.precision))
    return dataclasses.replace(manifest, measured=True, agreement=agreement(golden, manifest.decode)), golden


def agreement(golden: Golden, spec: DecodeSpec) -> dict[str, float]:
    """Distance between the keypoints of engine and FP32, in input pixels: mean and 99th percentile."""
    ours, theirs = (
        decode(maps, spec.stride, spec.shift, spec.refinement)[0]
        for maps in (golden.engine_heatmaps, golden.fp32_heatmaps)
        if maps is not None
    )
    distance = np.linalg.norm(ours - theirs, axis=-1)
    return {"mean_px": round(float(distance.mean()), 4), "p99_px": round(float(np.percentile(distance, 99)), 4)}
