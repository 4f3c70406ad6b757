"""Poses of one frame after another as tracks: who is who, who is new, who is gone.

    poses -> those that show somebody -> one a person -> assigned to tracks -> smoothed
                                                      -> the rest are new
                                                         tracks that nobody was found for: missed, then dead

A track's crop alone gives nobody its id: it may have slid onto a neighbour, so the pose must be like the track's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hgedge.errors import ShapeError
from hgedge.pose import KeypointSet, Pose
from hgedge.tracking.association import assign, certainty, similarities
from hgedge.tracking.body import Body, body_of, shows_somebody
from hgedge.tracking.smoothing import OneEuro

CONFIRM_HITS = 3
LOST_S = 1.0  # a confirmed track that is looked for and not found dies when it was last seen longer ago
NEVER_WAS_S = 0.25  # one that is not confirmed
SAME = 0.5  # similarity of two poses of one person in one frame; different people of COCO reach 0.05
ALIKE = 0.3  # similarity at which a pose may be a track's
SUDDEN_S = 0.4  # whom only their own crop shows may be as far off as if they had been unseen for so much longer
ABREAST = 0.15  # two tracks that are alike follow one person if they drift apart slower, in sizes a second
STEP_S = 1 / 30  # between timestamps that are equal, fall, or are no numbers
SHORTEST_S, LONGEST_S = 1e-3, 1e3  # that a step counts for
SIZE_SETTLES_S = 0.5


@dataclass(frozen=True)
class Track:
    """Somebody who is followed.

    Attributes:
        id: Never used again.
        pose: As they were last found, smoothed.
        seen_s: Timestamp of the frame that they were last found in.
        hits: Frames that they were found in.
        confirmed: Found in three frames; until then the track dies sooner.
        misses: Frames in a row that they were looked for in and not found.
        unseen_s: Seconds since they were last found, by a clock that never runs backwards.
        size_px: Diagonal of the box around their sure joints, over the last half second or so.
        drift: (2,) float64, pixels a second: how they move as a whole, the median of their sure joints.
    """

    id: int
    pose: Pose
    seen_s: float
    hits: int = 1
    confirmed: bool = False
    misses: int = 0
    unseen_s: float = 0.0
    size_px: float = 1.0
    drift: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def moved(self, more_s: float = 0.0) -> Pose:
        """The pose where it should be now, or in `more_s` seconds: moved on by the drift, for a second at most."""
        seconds = min(self.unseen_s + more_s, LOST_S)
        if not seconds:
            return self.pose
        way = (self.drift * seconds).astype(np.float32)
        return replace(self.pose, keypoints=self.pose.keypoints + way, box_xyxy=self.pose.box_xyxy + np.tile(way, 2))


@dataclass(frozen=True)
class _Person:
    """A pose of this frame, the tracks whose crops it came from, and whether a detector's did."""

    pose: Pose
    body: Body
    hints: frozenset[int]
    detected: bool


class Tracker:
    """Gives people ids that last, and smooths their joints; one source, frame by frame.

    Attributes:
        tracks: Everybody who is followed, also those who are out of sight just now; by id.
    """

    def __init__(self, keypoint_set: KeypointSet, smooth: bool = True) -> None:
        self.tracks: tuple[Track, ...] = ()
        self._num_keypoints = len(keypoint_set)
        self._smooth = smooth
        self._filters: dict[int, OneEuro] = {}
        self._next_id = 0
        self._timestamp_s = math.nan

    def update(self, poses: Sequence[Pose], hints: Sequence[int | None], timestamp_s: float) -> list[Pose]:
        """Take the poses of the next frame.

        Args:
            poses: Of the frame's crops.
            hints: For each the id of the track that its crop followed, None for a detection. If none of them names a
                track, everybody was looked for; else those who are named, and the others move on as they did.
            timestamp_s: The frame's; a step that is not above 0 counts as 1/30 s.

        Returns:
            Everybody in sight, by id: joints smoothed, score, scores and box as they came. Those who were not looked
            for are where they should be by now. Poses that show nobody (a mean score below 0.2), or somebody twice,
            are left out.

        Raises:
            ShapeError: There are not as many hints as poses, or a pose has other keypoints than the set.
        """
        self._check(poses, hints)
        step_s = self._step(timestamp_s)
        tracks = [replace(track, unseen_s=track.unseen_s + step_s) for track in self.tracks]
        people = _one_each([_person(pose, hint) for pose, hint in zip(poses, hints) if shows_somebody(pose)])
        owners = _owners(tracks, people)
        found = [
            self._found(person, owners.get(index), timestamp_s)
            for index, person in enumerate(people)
            if index in owners or person.detected
        ]
        self.tracks = tuple(sorted(self._merged(found, _not_found(tracks, owners, hints)), key=lambda track: track.id))
        self._filters = {track.id: self._filters[track.id] for track in self.tracks}
        return [track.moved() for track in self.tracks if not track.misses]

    def _check(self, poses: Sequence[Pose], hints: Sequence[int | None]) -> None:
        if len(poses) != len(hints):
            raise ShapeError(
                f"hints must be one a pose, None for a detection, but got {len(hints)} for {len(poses)} poses"
            )
        for pose in poses:
            if len(pose.keypoints) != self._num_keypoints:
                raise ShapeError(
                    f"poses must have the {self._num_keypoints} keypoints of the tracker's set, but got one of "
                    f"{len(pose.keypoints)}; make the tracker with the pipeline's keypoint set"
                )

    def _step(self, timestamp_s: float) -> float:
        """Seconds since the last frame."""
        step_s, self._timestamp_s = float(timestamp_s) - self._timestamp_s, float(timestamp_s)
        return min(max(step_s, SHORTEST_S), LONGEST_S) if 0 < step_s < math.inf else STEP_S

    def _found(self, person: _Person, track: Track | None, timestamp_s: float) -> Track:
        """The track of somebody who is in this frame, a new one if they have none."""
        body, hits = person.body, 1 if track is None else track.hits + 1
        if track is None:
            id, size_px, joints = self._next_id, body.size_px, OneEuro(body.keypoints)
            self._filters[id] = joints
            self._next_id += 1
        else:
            id, joints = track.id, self._filters[track.id]
            size_px = track.size_px + (body.size_px - track.size_px) * min(track.unseen_s / SIZE_SETTLES_S, 1)
            joints.step(body.keypoints, body.believed, track.unseen_s, size_px)
        moving = joints.velocity[body.believed > 0]
        keypoints = joints.keypoints.astype(np.float32) if self._smooth else person.pose.keypoints
        return Track(
            id,
            replace(person.pose, keypoints=keypoints, id=id),
            timestamp_s,
            hits,
            confirmed=hits >= CONFIRM_HITS,
            size_px=size_px,
            drift=_median(moving) if len(moving) else np.zeros(2),
        )

    def _merged(self, found: list[Track], lost: list[Track]) -> Iterator[Track]:
        """All tracks; of a lost and a found one that follow one person the older id, with what was found."""
        for track in found:
            same = {other.id for other in lost if other.misses and _follow_one_person(track, other)}
            lost = [other for other in lost if other.id not in same]
            oldest = min(same | {track.id})
            self._filters[oldest] = self._filters[track.id]
            yield replace(track, id=oldest, pose=replace(track.pose, id=oldest))
        yield from (t for t in lost if not t.misses or t.unseen_s <= (LOST_S if t.confirmed else NEVER_WAS_S))


def _person(pose: Pose, hint: int | None) -> _Person:
    return _Person(pose, body_of(pose), frozenset(() if hint is None else (hint,)), detected=hint is None)


def _one_each(people: list[_Person]) -> list[_Person]:
    """Of poses that show one person the surest, with the hints of all."""
    people = sorted(people, key=lambda person: -person.body.believed.sum())
    bodies = [person.body for person in people]
    shown = similarities(bodies, bodies) >= SAME
    kept: dict[int, _Person] = {}
    for index, person in enumerate(people):
        first = next((other for other in kept if shown[other, index]), None)
        if first is None:
            kept[index] = person
        else:
            one = kept[first]
            kept[first] = replace(one, hints=one.hints | person.hints, detected=one.detected or person.detected)
    return list(kept.values())


def _owners(tracks: list[Track], people: list[_Person]) -> dict[int, Track]:
    """The track of each person that has one, by their index; of two tracks the one that was seen last comes first."""
    alike = similarities([_body(track) for track in tracks], [person.body for person in people])
    likely = np.where(alike >= ALIKE, alike, 0) * certainty([track.unseen_s for track in tracks])[:, None]
    owners = {column: tracks[row] for row, column in assign(likely) if likely[row, column]}
    owned = {track.id for track in owners.values()}
    left = {track.id: track for track in tracks if track.id not in owned}
    for column, person in enumerate(people):
        own = [left[hint] for hint in person.hints if hint in left and len(person.hints) == 1 and column not in owners]
        if own and similarities([_body(own[0], SUDDEN_S)], [person.body])[0, 0] >= ALIKE:
            owners[column] = left.pop(own[0].id)
    return owners


def _not_found(tracks: list[Track], owners: dict[int, Track], hints: Sequence[int | None]) -> list[Track]:
    """The tracks that nobody was found for, with a miss more if they were looked for."""
    every = {track.id for track in tracks}
    asked = every.intersection(hints) or every
    missing = every - {track.id for track in owners.values()}
    return [replace(track, misses=track.misses + (track.id in asked)) for track in tracks if track.id in missing]


def _body(track: Track, more_s: float = 0.0) -> Body:
    return replace(body_of(track.moved()), size_px=track.size_px, unseen_s=track.unseen_s + more_s)


def _follow_one_person(track: Track, other: Track) -> bool:
    """Whether two tracks are alike and move alike: people who cross are alike for a moment."""
    now = replace(_body(other), unseen_s=0.0)
    apart = float(np.linalg.norm(track.drift - other.drift))
    return apart < ABREAST * track.size_px and bool(similarities([now], [_body(track)])[0, 0] >= SAME)


def _median(values: np.ndarray) -> np.ndarray:
    """The median of each column; np.median takes four times as long for so few."""
    ordered = np.sort(values, axis=0)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
