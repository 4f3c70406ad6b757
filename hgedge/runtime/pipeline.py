"""Frame to poses with one engine: crop, infer, decode."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from hgedge import backends, geometry
from hgedge.backends.base import Session
from hgedge.bundle import MANIFEST, check_fits, engine_of, file_of, open_bundle, read_manifest, rebuild
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch, HgedgeError
from hgedge.pose import KeypointSet, Pose
from hgedge.runtime.decode import decode
from hgedge.runtime.golden import GOLDEN, check_golden, load_golden, measure
from hgedge.runtime.preprocess import check_frame, crop
from hgedge.spec import DecodeSpec, InputSpec, Manifest
from hgedge.staging import resealed

log = logging.getLogger(__name__)


class Pipeline:
    """An engine that takes frames and gives poses; a context manager. One caller at a time.

    Attributes:
        keypoints: Names and skeleton of what it predicts.
        input: What the network takes.
        manifest: Of the bundle that it was loaded from; None for a bare network.
        latency_ms: Of the last call: preprocess, infer, decode and total, in milliseconds.
    """

    def __init__(
        self,
        session: Session,
        input: InputSpec,
        keypoints: KeypointSet,
        decode: DecodeSpec,
        manifest: Manifest | None = None,
    ) -> None:
        self.session = session
        self.input = input
        self.keypoints = keypoints
        self.decode = decode
        self.manifest = manifest
        self.latency_ms: dict[str, float] = {}
        self._crops = np.empty((1, *input.hw, input.channels), np.uint8)

    def __call__(self, frame_bgr: np.ndarray, boxes: Iterable[np.ndarray] | None = None) -> list[Pose]:
        """Estimate the pose of every box.

        Args:
            frame_bgr: (H, W, 3) uint8, BGR.
            boxes: (P, 4) left, top, right, bottom in frame pixels, one a person; by default the whole frame is one.

        Returns:
            One pose a box, in order; keypoints in frame pixels.

        Raises:
            ShapeError: The frame or a box has the wrong shape.
        """
        check_frame(frame_bgr)
        started = time.perf_counter()
        people = [geometry.whole_frame_box(frame_bgr.shape[:2])] if boxes is None else [np.asarray(b) for b in boxes]
        affines = [geometry.frame_from_input(box, self.input.hw) for box in people]
        crops = self.crops(frame_bgr, affines)
        cropped = time.perf_counter()
        heatmaps = self.session.run(crops) if people else None
        inferred = time.perf_counter()
        poses = [] if heatmaps is None else self.poses(heatmaps, affines, people)
        decoded = time.perf_counter()
        self.latency_ms = {
            "preprocess": 1e3 * (cropped - started),
            "infer": 1e3 * (inferred - cropped),
            "decode": 1e3 * (decoded - inferred),
            "total": 1e3 * (decoded - started),
        }
        return poses

    def crops(self, frame: np.ndarray, affines: list[np.ndarray]) -> np.ndarray:
        """The (N, H, W, C) uint8 crops of a frame, in a buffer that the next call reuses."""
        if len(affines) > len(self._crops):
            self._crops = np.empty((len(affines), *self._crops.shape[1:]), np.uint8)
        for affine, out in zip(affines, self._crops):
            crop(frame, affine, out)
        return self._crops[: len(affines)]

    def poses(self, heatmaps: np.ndarray, affines: list[np.ndarray], boxes: list[np.ndarray]) -> list[Pose]:
        """Decode (N, K, h, w) heatmaps into poses in frame pixels."""
        keypoints, scores = decode(heatmaps, self.decode.stride, self.decode.shift)
        return [
            Pose(
                keypoints=geometry.transform(affine, points).astype(np.float32),
                scores=values,
                box_xyxy=np.asarray(box, np.float32),
                score=float(values.mean()),
                id=index,
            )
            for index, (points, values, affine, box) in enumerate(zip(keypoints, scores, affines, boxes))
        ]

    def stream(self, source: str | int | Path) -> Iterator[tuple[np.ndarray, list[Pose]]]:
        """Read a picture, folder, video or camera, and yield every frame, (H, W, 3) uint8 BGR, with its poses."""
        from hgedge.sources import open_source

        with open_source(source) as frames:
            for frame in frames:
                yield frame.image, self(frame.image)

    def close(self) -> None:
        """Free the engine."""
        self.session.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(bundle: str | Path) -> Pipeline:
    """Load a bundle, after checking that it is whole and fits this machine.

    Raises:
        EngineMismatch: The bundle is not whole, or was built for another machine or library version.
        BackendUnavailable: Its backend is not installed.
    """
    folder = Path(bundle)
    manifest = open_bundle(folder)
    backend = check_fits_here(folder, manifest)
    check_golden(file_of(folder, manifest, GOLDEN), manifest)
    session = backends.sessions(backend).load(folder, manifest)
    if not manifest.measured:
        try:
            manifest = _first_measured(folder, manifest, session)
        except BaseException:
            session.close()
            raise
    return Pipeline(session, manifest.input, manifest.keypoints, manifest.decode, manifest)


def _first_measured(folder: Path, manifest: Manifest, session: Session) -> Manifest:
    """Measure an engine that the machine that built it could not run, and note the result in its bundle."""
    manifest, golden = measure(session, manifest, load_golden(folder / GOLDEN))
    found = manifest.agreement or {}
    log.info(
        "%s: measured before its first use: keypoints lie %.2f px (mean) and %.2f px (p99) from FP32's",
        folder,
        *(found[name] for name in ("mean_px", "p99_px")),
    )
    try:
        return resealed(folder, manifest, {GOLDEN: golden.save})
    except ConfigError as error:
        log.warning("this is not noted in the bundle, and will be measured again: %s", error)
        return manifest


def newest(parent: Path) -> Path | None:
    """The newest bundle in a folder whose engine fits this machine and its libraries."""
    found = []
    for path in parent.glob(f"*/{MANIFEST}"):
        try:
            check_fits_here(path.parent, read_manifest(path.parent))
        except HgedgeError:
            continue
        found.append((path.stat().st_mtime_ns, path.parent))
    return max(found)[1] if found else None


def check_fits_here(folder: Path, manifest: Manifest) -> str:
    """Check that a bundle's engine was built for this processor and this version of its backend; returns the backend.

    Raises:
        EngineMismatch: It was not.
        BackendUnavailable: Its backend is not installed, or cannot run engines on this machine.
    """
    built, _ = engine_of(folder, manifest)
    check_fits(folder, manifest, backends.device_for(built.name))
    here = backends.builder(built.name).version()
    if here != built.version:
        raise EngineMismatch(
            f"{folder} was built with {built.name} {built.version}, but this machine has {here}; "
            f"{rebuild(manifest, folder)}"
        )
    reason = backends.why_not_here(built.name)
    if reason is not None:
        raise BackendUnavailable(f"{folder} cannot run here: {reason}; build for this machine: hgedge build {folder}")
    return built.name
