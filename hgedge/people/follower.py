"""Which boxes of a frame are looked at: people that are known by their keypoints, others as a detector finds them.

The crop of somebody who is followed is the data sets' own, the square around the box of their sure joints of 1.25
times its longer side, moved on by their motion and with some play, so that a still person's crop is still:

    side <- the nearest to the old one that is not below the new, and above it by twice the play at most
    centre <- the nearest to the old one that is within the play of the new

In a second the side shrinks to 1/e of itself at most, and grows to 20 times. While less than 70 % of the joints are
sure it does not shrink, and the centre moves no more than it must for all of them to stay inside: a crop that closes
in on half a person never finds the other half. With less than a quarter of the joints it stays where it is. Its centre
stays within the frame: somebody who left is looked for at the border until the tracker gives them up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hgedge.errors import ConfigError
from hgedge.geometry import square_box, whole_frame_box
from hgedge.people.detector import Detector
from hgedge.people.overlap import overlaps
from hgedge.pose import Frame, Pose

PADDING = 1.25  # of the training crops
LEAST_PEAK = 0.2  # of a sure joint: most of what the default model makes of background lies below
SHARE_OF_BEST = 0.5  # of the pose's highest peak: models differ in how high their peaks are
FEW, MOST = 0.25, 0.7  # shares of the joints that must be sure for the crop to follow, and for it to shrink
PLAY_PX, MOST_PLAY = 8.0, 0.05  # two cells of a heatmap, in pixels of the input; and as a share of the side
BODY_OF_JOINTS = 1.2  # a person's box over that of their joints
SHRINKING, GROWING = 1.0, 3.0  # powers of e a second
LONGEST_S = 0.5  # that motion is carried on for
SAME_PERSON = 0.3  # intersection over union of boxes around people
SOON = 0.2  # of `detect_every`: the detector is not asked more often for somebody who flickers


class Track(Protocol):
    """What is needed of `hgedge.tracking.Track`; read only."""

    @property
    def id(self) -> int: ...
    @property
    def pose(self) -> Pose: ...
    @property
    def drift(self) -> np.ndarray: ...
    @property
    def seen_s(self) -> float: ...
    @property
    def misses(self) -> int: ...


@dataclass(frozen=True)
class Crop:
    """A part of a frame that is to be looked at.

    Attributes:
        box_xyxy: (4,) float64, frame pixels.
        track_id: Whose it is; None for somebody new.
    """

    box_xyxy: np.ndarray
    track_id: int | None = None


@dataclass(frozen=True)
class _Followed:
    """Somebody who is followed: the box around them, the crop of this frame, and whether that is sure."""

    id: int
    person: np.ndarray
    crop: np.ndarray
    sure: bool


class Follower:
    """Chooses the crops of each frame of one source, in order; the same frames and tracks give the same crops.

    A detector that gives all people of every frame is obeyed: the surest `max_people` of its boxes. Else tracks are
    followed, and the detector is asked where there is no track, every so many frames, and soon after a track has become
    unsure (few of its joints are sure, or it was missed). Whoever waits longest for a crop comes first: with T tracks
    and N new people nobody waits for more than ceil((T + N) / max_people) frames. The detector is not asked again
    before all whom it found have had their crop.

    Args:
        detector: What finds people.
        input_hw: Height and width of the network's input, by which the play is measured.
        detect_every: The detector is asked at least every so many frames.
        max_people: Crops a frame at most.

    Raises:
        ConfigError: `detect_every` or `max_people` is below 1.
    """

    def __init__(
        self, detector: Detector, input_hw: tuple[int, int], detect_every: int = 30, max_people: int = 8
    ) -> None:
        for name, value in (("detect_every", detect_every), ("max_people", max_people)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, but got {value}")
        self._detector = detector
        self._play = min(PLAY_PX / min(input_hw), MOST_PLAY)
        self._detect_every, self._max_people = detect_every, max_people
        self._frame = self._detected = 0  # numbers of the frame at hand, from 1, and of the last that was searched
        self._served: dict[int, int] = {}  # track -> number of the frame in which it last got its crop
        self._unsure: set[int] = set()
        self._waiting = np.empty((0, 5))  # people who were found and have had no crop yet

    def choose(self, frame: Frame, image_bgr: np.ndarray, tracks: Sequence[Track]) -> list[Crop]:
        """The crops of the next frame.

        Args:
            frame: The frame.
            image_bgr: (H, W, 3) uint8, the frame as BGR.
            tracks: Who is known from the frames before; none for pictures that have nothing to do with each other.

        Returns:
            At most `max_people`, those who waited longest first.
        """
        self._frame += 1
        frame_hw = (image_bgr.shape[0], image_bgr.shape[1])
        if not self._detector.followed:
            return self._as_detected(self._detect(frame, image_bgr))
        people = [_follow(track, frame.timestamp_s, frame_hw, self._play) for track in tracks]
        if self._is_due(people):
            self._waiting = self._detect(frame, image_bgr)
            people = [_found_again(person, self._waiting) for person in people]
        known = np.array([person.person for person in people]).reshape(-1, 4)
        self._waiting = self._waiting[~(overlaps(self._waiting, known) >= SAME_PERSON).any(axis=1)]
        return self._longest_waiting(people)

    def _detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """(N, 5) float64: what is found in the frame, those surest first."""
        self._detected = self._frame
        found = self._detector.detect(frame, image_bgr).astype(np.float64)
        inside = overlaps(found, whole_frame_box((image_bgr.shape[0], image_bgr.shape[1]))[None])[:, 0] > 0
        return found[inside][np.argsort(-found[inside, 4], kind="stable")]

    def _as_detected(self, found: np.ndarray) -> list[Crop]:
        """The boxes as they are; whose each is, the joints tell."""
        boxes = found[: self._max_people, :4]
        return [Crop(box if self._detector.cropped else square_box(box, PADDING)) for box in boxes]

    def _is_due(self, people: list[_Followed]) -> bool:
        if len(self._waiting):
            return False
        unsure = {person.id for person in people if not person.sure}
        passed = (self._frame - self._detected) / self._detect_every
        due = not people or passed >= 1 or (passed >= SOON and not unsure <= self._unsure)
        self._unsure = unsure if due else self._unsure & unsure
        return due

    def _longest_waiting(self, people: list[_Followed]) -> list[Crop]:
        """Whose turn it is; new people come before tracks that wait as long, but leave them one crop of several."""
        most_new = max(self._max_people - bool(people), 1)
        turns = [(self._detected, Crop(square_box(box[:4], PADDING))) for box in self._waiting[:most_new]]
        turns += [(self._served.get(person.id, self._frame - 1), Crop(person.crop, person.id)) for person in people]
        chosen = [crop for _, crop in sorted(turns, key=lambda turn: turn[0])[: self._max_people]]
        served = {crop.track_id for crop in chosen}
        self._waiting = self._waiting[sum(crop.track_id is None for crop in chosen) :]
        self._served = {
            person.id: self._frame if person.id in served else self._served.get(person.id, self._frame - 1)
            for person in people
        }
        return chosen


def _follow(track: Track, timestamp_s: float, frame_hw: tuple[int, int], play: float) -> _Followed:
    """Where somebody should be in the frame of this time."""
    pose, step_s = track.pose, timestamp_s - track.seen_s
    step_s = min(max(step_s, 0.0), LONGEST_S) if math.isfinite(step_s) else 0.0
    sure = _sure_joints(pose)
    old = square_box(pose.box_xyxy, 1.0)
    if np.count_nonzero(sure) < FEW * len(sure):
        return _Followed(track.id, square_box(old, 1 / PADDING), _within(old, frame_hw), False)
    joints, old_side = pose.keypoints[sure].astype(np.float64), float(old[2] - old[0])
    way = (track.drift * step_s).clip(-old_side / 2, old_side / 2)
    box = np.concatenate([joints.min(axis=0) + way, joints.max(axis=0) + way])
    new = square_box(box, PADDING)
    new_side, may_shrink = float(new[2] - new[0]), np.count_nonzero(sure) >= MOST * len(sure)
    side = min(max(old_side, new_side), (1 + 2 * play) * new_side)
    slowest = old_side * math.exp(-SHRINKING * step_s) if may_shrink else old_side
    side = min(max(side, slowest), old_side * math.exp(GROWING * step_s))
    slack = play * new_side if may_shrink else max(play * new_side, (side - new_side) / 2)
    new_center, old_center = (new[:2] + new[2:]) / 2, (old[:2] + old[2:]) / 2 + way
    center = new_center + (old_center - new_center).clip(-slack, slack)
    crop = np.concatenate([center - side / 2, center + side / 2])
    return _Followed(track.id, _enlarged(box, BODY_OF_JOINTS), _within(crop, frame_hw), not track.misses)


def _sure_joints(pose: Pose) -> np.ndarray:
    """(K,) bool: whose peaks are high, for a model and a person as these."""
    scores = np.where(np.isfinite(pose.keypoints).all(axis=1) & np.isfinite(pose.scores), pose.scores, 0)
    return scores >= max(LEAST_PEAK, SHARE_OF_BEST * float(scores.max(initial=0)))


def _found_again(person: _Followed, found: np.ndarray) -> _Followed:
    """Somebody unsure where they were detected, if they were."""
    shares = overlaps(person.person[None], found)[0]
    if person.sure or shares.max(initial=0) < SAME_PERSON:
        return person
    box = found[shares.argmax(), :4]
    return _Followed(person.id, box, square_box(box, PADDING), False)


def _enlarged(box: np.ndarray, factor: float) -> np.ndarray:
    center, half = (box[:2] + box[2:]) / 2, factor * (box[2:] - box[:2]) / 2
    return np.concatenate([center - half, center + half])


def _within(crop: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """The crop, moved so that its centre lies in the frame."""
    center = (crop[:2] + crop[2:]) / 2
    way = center.clip(0, (frame_hw[1] - 1, frame_hw[0] - 1)) - center
    return crop + np.concatenate([way, way])
