"""People of known whereabouts, and what detector, crops and network would make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hgedge.pose import Pose
from hgedge.tracking import Tracker

FPS = 30
NOISE = 0.005  # of the person's size, white: measured on stills of a real video, see test_jitter.py
STANDING = np.array(  # sizes, from the hips' middle; LSP14's order
    [
        (-0.07, 0.50), (-0.07, 0.26), (-0.06, 0.0), (0.06, 0.0), (0.07, 0.26), (0.07, 0.50), (-0.14, 0.02),
        (-0.13, -0.14), (-0.10, -0.30), (0.10, -0.30), (0.13, -0.14), (0.14, 0.02), (0.0, -0.32), (0.0, -0.48),
    ]
)  # fmt: skip
SWING = np.array([1, 0.5, 0, 0, -0.5, -1, -0.7, -0.3, 0, 0, 0.3, 0.7, 0, 0]) * 0.1


@dataclass(frozen=True)
class Walker:
    """Somebody who walks.

    Attributes:
        place: Of the hips in pixels, at a time in seconds.
        size: In pixels, from head to ankles.
        depth: Who is nearer covers who is farther.
        since: Seconds; not there before.
        until: Seconds; not there afterwards.
    """

    place: Callable[[float], tuple[float, float]]
    size: float = 200.0
    depth: int = 0
    since: float = 0.0
    until: float = 1e9

    def joints(self, time: float) -> np.ndarray:
        swing = np.sin(2 * np.pi * 0.9 * time + self.depth) * SWING
        return np.array(self.place(time)) + self.size * (STANDING + np.stack([swing, 0 * swing], axis=1))

    def is_there(self, time: float) -> bool:
        return self.since <= time <= self.until


def straight(x: float, speed: float, y: float = 300.0) -> Callable[[float], tuple[float, float]]:
    """A walk along x at so many pixels a second."""
    return lambda time: (x + speed * time, y)


def pose_at(joints: np.ndarray, scores: np.ndarray | float = 0.6, id: int = 0) -> Pose:
    """A pose of these joints with a crop's box around them."""
    values = np.broadcast_to(np.asarray(scores, np.float32), len(joints)).copy()
    box = np.concatenate([np.fmin.reduce(joints), np.fmax.reduce(joints)])
    return Pose(joints.astype(np.float32), values, box.astype(np.float32), float(np.nan_to_num(values).mean()), id)


@dataclass
class World:
    """A scene, filmed.

    Attributes:
        walkers: Everybody who comes along.
        detect_every: Frames between two runs of the detector.
        lost_joints: Share of joints that are missing, NaN or hardly believed.
        lost_poses: Share of crops in which the network finds nobody.
        cover: Somebody is hidden who is nearer than this to somebody in front, in sizes.
    """

    walkers: Sequence[Walker]
    detect_every: int = 10
    lost_joints: float = 0.0
    lost_poses: float = 0.0
    cover: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def visible(self, time: float) -> list[Walker]:
        there = [walker for walker in self.walkers if walker.is_there(time)]
        return [walker for walker in there if not any(self._hides(other, walker, time) for other in there)]

    def _hides(self, other: Walker, walker: Walker, time: float) -> bool:
        apart = np.subtract(other.place(time), walker.place(time))
        return other.depth < walker.depth and bool(np.hypot(*apart) < self.cover * other.size)

    def seen(self, center: np.ndarray, time: float) -> Pose:
        """What the network finds in a crop: whoever is nearest its middle, else nonsense of low scores."""
        apart = {walker: np.hypot(*(walker.place(time) - center)) / walker.size for walker in self.visible(time)}
        walker = min(apart, key=lambda walker: apart[walker], default=None)
        if walker is None or apart[walker] > 0.5 or self.rng.random() < self.lost_poses:
            return pose_at(center + self.rng.uniform(-80, 80, (14, 2)), self.rng.uniform(0.0, 0.3, 14))
        joints = walker.joints(time) + self.rng.normal(0, NOISE * walker.size, (14, 2))
        scores = self.rng.uniform(0.45, 0.75, 14)
        lost = self.rng.random(14) < self.lost_joints
        joints[lost] += self.rng.normal(0, 0.3 * walker.size, (lost.sum(), 2))
        joints[lost & (self.rng.random(14) < 0.5)] = np.nan
        return pose_at(joints, np.where(lost, self.rng.uniform(0, 0.15, 14), scores))

    def crops(self, tracker: Tracker, frame: int, time: float) -> Iterator[tuple[np.ndarray, int | None]]:
        """The middle of each crop and the track that it follows: all tracks, and at times a detector's new people."""
        centers = [np.nanmedian(track.moved(1 / FPS).keypoints, axis=0) for track in tracker.tracks]
        yield from zip(centers, [track.id for track in tracker.tracks])
        for walker in self.visible(time) if frame % self.detect_every == 0 else ():
            if all(np.hypot(*(walker.place(time) - center)) > 0.3 * walker.size for center in centers):
                yield np.array(walker.place(time)), None

    def film(self, tracker: Tracker, seconds: float) -> list[dict[int, int]]:
        """Each frame's walkers and the ids that they are given; who is shown must be there."""
        told = []
        for frame in range(int(seconds * FPS)):
            time = frame / FPS
            crops = list(self.crops(tracker, frame, time))
            shown = tracker.update([self.seen(center, time) for center, _ in crops], [hint for _, hint in crops], time)
            told.append({self.whose(pose, time): pose.id for pose in shown})
            assert len(told[-1]) == len(shown), "somebody is shown twice"
        return told

    def whose(self, pose: Pose, time: float) -> int:
        """Which walker a pose shows."""
        visible = self.visible(time)
        errors = [np.linalg.norm(pose.keypoints - walker.joints(time), axis=1) / walker.size for walker in visible]
        apart = [float(np.nanmedian(error)) for error in errors]
        assert min(apart) < 0.2, f"at {time:.2f} s a pose shows nobody: {min(apart):.2f} sizes from the nearest"
        return self.walkers.index(visible[int(np.argmin(apart))])


def ids_of(told: list[dict[int, int]], walker: int) -> list[int]:
    """All ids that a walker had, in the order in which they came first."""
    return list(dict.fromkeys(frame[walker] for frame in told if walker in frame))
