"""Frame to poses with one engine: crop, infer, decode."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np

from hgedge import backends, geometry
from hgedge.backends.base import DeviceSession, Session
from hgedge.bundle import MANIFEST, engine_of, file_of, open_bundle, read_manifest
from hgedge.errors import BackendUnavailable, ConfigError, HgedgeError
from hgedge.pose import Frame, KeypointSet, Pose
from hgedge.runtime.decode import decode
from hgedge.runtime.golden import GOLDEN, check_golden, load_golden, measure
from hgedge.runtime.pixels import bgr_from, frame_hw
from hgedge.runtime.preprocess import crop
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

    def __call__(self, frame: np.ndarray, boxes: Iterable[np.ndarray] | None = None, pixels: str = "bgr") -> list[Pose]:
        """Estimate the pose of every box.

        Args:
            frame: uint8, of the shape that its pixels have: (H, W, 3) for BGR.
            boxes: (P, 4) left, top, right, bottom in frame pixels, one a person; by default the whole frame is one.
            pixels: How they lie in memory, one of `hgedge.runtime.pixels.PIXELS`.

        Returns:
            One pose a box, in order; keypoints in frame pixels.

        Raises:
            ShapeError: The frame or a box has the wrong shape.
        """
        started = time.perf_counter()
        picture = bgr_from(frame, pixels)
        people = people_in(frame_hw(frame, pixels), boxes)
        affines = [geometry.frame_from_input(box, self.input.hw) for box in people]
        crops = self.crops(picture, affines)
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
        return self._crops if len(affines) == len(self._crops) else self._crops[: len(affines)]

    def poses(self, heatmaps: np.ndarray, affines: list[np.ndarray], boxes: list[np.ndarray]) -> list[Pose]:
        """Decode (N, K, h, w) heatmaps into poses in frame pixels."""
        located, scores = decode(heatmaps, self.decode.stride, self.decode.shift, self.decode.refinement)
        keypoints = np.empty_like(located)
        for affine, points, out in zip(affines, located, keypoints):
            out[...] = geometry.transform(affine, points)
        return poses_from(keypoints, scores, boxes)

    def stream(
        self,
        source: str | int | Path,
        people: str = "whole",
        max_people: int | None = None,
        detect_every: int | None = None,
        smooth: bool | None = None,
    ) -> Iterator[tuple[np.ndarray, list[Pose]]]:
        """Read a picture, folder, video or camera, and yield its frames with their poses, as `hgedge run` finds them.

        Args:
            source: What `hgedge.sources.open_source` takes. Of a file every frame comes, of a live source the newest.
            people: "whole", "hog", "onnx:PATH" or "boxes:FILE".
            max_people: People a frame, 8 by default.
            detect_every: Frames from one detection to the next, 30 by default.
            smooth: Whether joints are smoothed over time; by default of live sources and of people who are followed.

        Yields:
            (H, W, 3) uint8 BGR, and the people in it.

        Raises:
            HgedgeError: The source cannot be read, or an option is wrong.
        """
        from hgedge.runtime.live import estimates, people_of
        from hgedge.sources import open_source, read_ahead

        wanted = people_of(people, max_people, detect_every, smooth)
        with open_source(source) as opened, read_ahead(opened) as frames:
            with contextlib.closing(estimates(self, frames, wanted)) as every:
                for found in every:
                    yield bgr_from(found.frame.image, found.frame.pixels), found.poses

    def each(self, frames: Iterable[Frame], live: bool) -> Iterator[tuple[Frame, list[Pose], dict[str, float]]]:
        """Every frame, the pose of the whole of it, and `latency_ms`.

        Args:
            frames: In order.
            live: They come at their own pace, so that no poses may wait for the next.
        """
        for frame in frames:
            yield frame, self(frame.image, pixels=frame.pixels), self.latency_ms

    def close(self) -> None:
        """Free the engine."""
        self.session.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def people_in(frame_hw: tuple[int, int], boxes: Iterable[np.ndarray] | None) -> list[np.ndarray]:
    """The boxes of a frame; without any given, the whole of it."""
    return [geometry.whole_frame_box(frame_hw)] if boxes is None else [np.asarray(box) for box in boxes]


def poses_from(keypoints: np.ndarray, scores: np.ndarray, boxes: Iterable[np.ndarray]) -> list[Pose]:
    """A pose a person, of (N, K, 2) keypoints in frame pixels, (N, K) scores and (4,) boxes."""
    keypoints, scores = np.ascontiguousarray(keypoints, np.float32), np.ascontiguousarray(scores)
    means = scores.mean(axis=1)
    return [
        Pose(points, values, np.asarray(box, np.float32), float(mean), index)
        for index, (points, values, box, mean) in enumerate(zip(keypoints, scores, boxes, means))
    ]


def load(bundle: str | Path) -> Pipeline:
    """Load a bundle, after checking that it is whole and fits this machine.

    An engine that runs on a CUDA device gets a `hgedge.runtime.cuda.pipeline.CudaPipeline`.

    Raises:
        EngineMismatch: The bundle is not whole, or was built for another machine or library version.
        BackendUnavailable: Its backend is not installed.
    """
    folder = Path(bundle)
    manifest = open_bundle(folder)
    backend = check_fits_here(folder, manifest)
    check_golden(file_of(folder, manifest, GOLDEN), manifest)
    session = backends.sessions(backend).load(folder, manifest)
    try:
        if not manifest.measured:
            manifest = _first_measured(folder, manifest, session)
        return pipeline_of(session, manifest.input, manifest.keypoints, manifest.decode, manifest)
    except BaseException:
        session.close()
        raise


def pipeline_of(
    session: Session, input: InputSpec, keypoints: KeypointSet, decode: DecodeSpec, manifest: Manifest | None = None
) -> Pipeline:
    """The pipeline for a session: on its CUDA device if it is a `DeviceSession`, else on the CPU."""
    if not hasattr(session, "enqueue"):
        return Pipeline(session, input, keypoints, decode, manifest)
    from hgedge.runtime.cuda.pipeline import CudaPipeline

    return CudaPipeline(cast(DeviceSession, session), input, keypoints, decode, manifest)


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
    reason = backends.why_not_here(built.name)
    if reason is not None:
        raise BackendUnavailable(f"{folder} cannot run here: {reason}; build for this machine: hgedge build {folder}")
    backends.check_fits(folder, manifest)
    return built.name
