"""From labelled people to batches: pictures are kept while there is room, crops are made ahead by worker threads.

Threads do: OpenCV and NumPy let others run while they work on a picture. Every sample has its own generator and
batches come in their order, so the number of threads changes nothing but the speed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

import hgedge.datasets
from hgedge.datasets import Dataset, Person
from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.errors import ConfigError, SourceError
from hgedge.sources.opencv import cv2
from hgedge.spec import InputSpec
from hgedge.training.augment import training_crop
from hgedge.training.config import TrainingConfig

GIGABYTE = 1e9
T = TypeVar("T")
U = TypeVar("U")


class Batch(NamedTuple):
    """Crops (N, H, W, C) uint8 BGR or grey, target maps (N, K, h, w) float32, joints that count (N, K) bool."""

    crops: Tensor
    target: Tensor
    counts: Tensor


class Pictures:
    """Decoded pictures; the first that fit into the budget are kept, all others are decoded whenever they are read."""

    def __init__(self, gray: bool, budget_bytes: float) -> None:
        self.gray = gray
        self._left = budget_bytes
        self._kept: dict[Path, np.ndarray] = {}
        self._lock = threading.Lock()

    def read(self, person: Person) -> np.ndarray:
        """(H, W, C) uint8, BGR or grey.

        Raises:
            SourceError: It cannot be read.
        """
        if person.pixels is not None and person.pixels.ndim == 2 and self.gray:
            return person.pixels[..., None]
        if person.image in self._kept and person.pixels is None:
            return self._kept[person.image]
        picture = person.read()
        if self.gray:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
        if person.pixels is None:
            with self._lock:
                if picture.nbytes <= self._left and person.image not in self._kept:
                    self._left -= picture.nbytes
                    self._kept[person.image] = picture
        return picture


class Samples:
    """Makes the training batches of one epoch."""

    def __init__(
        self, config: TrainingConfig, dataset: Dataset, pictures: Pictures, epoch: int, size: int, pinned: bool
    ) -> None:
        self.config, self.dataset, self.pictures = config, dataset, pictures
        self.epoch, self.size, self.pinned = epoch, size, pinned

    def batch(self, indices: np.ndarray) -> Batch:
        """Crops, targets and counts of some people."""
        crops, points, labels = zip(*(self._sample(int(index)) for index in indices))
        stride = self.config.model.stride
        cells = (self.size // stride, self.size // stride)
        target, counts = gaussian_heatmaps(np.stack(points), np.stack(labels), cells, stride, self.config.sigma)
        tensors = (torch.from_numpy(array) for array in (np.stack(crops), target, counts))
        return Batch(*(tensor.pin_memory() if self.pinned else tensor for tensor in tensors))

    def _sample(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        person, origin_px = self.dataset.people[index], self.dataset.origin_px
        return training_crop(
            self.pictures.read(person),
            person.keypoints - origin_px,
            person.labelled,
            person.box_xyxy - origin_px,
            self.dataset.keypoint_set,
            (self.size, self.size),
            self.config.augmentation,
            np.random.default_rng((self.config.seed, self.epoch, index)),
        )


@dataclass
class Ahead(Generic[T, U]):
    """Applies a function to items in worker threads, a few ahead of the reader, in their order; iterate once.

    Attributes:
        function: Applied to every item.
        items: What to apply it to.
        workers: Threads.
        busy_s: Time that threads spent on items that were read.
        waited_s: Time that the reader waited.
    """

    function: Callable[[T], U]
    items: Iterable[T]
    workers: int
    busy_s: float = 0.0
    waited_s: float = 0.0

    def __iter__(self) -> Iterator[U]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="crops")
        items = iter(self.items)
        try:
            coming = deque(pool.submit(self._timed, item) for item in islice(items, 2 * self.workers))
            while coming:
                result, seconds = self._next(coming)
                coming.extend(pool.submit(self._timed, item) for item in islice(items, 1))
                self.busy_s += seconds
                yield result
        finally:
            pool.shutdown(cancel_futures=True)

    def _next(self, coming: deque[Future[tuple[U, float]]]) -> tuple[U, float]:
        started = time.perf_counter()
        result = coming.popleft().result()
        self.waited_s += time.perf_counter() - started
        return result

    def _timed(self, item: T) -> tuple[U, float]:
        started = time.perf_counter()
        result = self.function(item)
        return result, time.perf_counter() - started


@contextmanager
def opencv_on_one_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own in every worker."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def network_input(crops: Tensor, spec: InputSpec) -> Tensor:
    """What `hgedge.runtime.preprocess.normalise` gives, on the crops' device and channels last.

    Args:
        crops: (N, H, W, C) uint8, BGR or grey.
        spec: The network's input.

    Returns:
        (N, C, H, W) float32.
    """
    ordered = crops.flip(-1) if spec.color == "rgb" else crops
    mean, std = (torch.tensor(values, dtype=torch.float32, device=crops.device) for values in (spec.mean, spec.std))
    return ((ordered / 255.0 - mean) / std).permute(0, 3, 1, 2)


def open_split(config: TrainingConfig, path: str, split: str) -> Dataset:
    """A split whose keypoints are as many as the network's and whose pictures are there.

    Raises:
        SourceError: The data set cannot be read, or a picture is missing.
        ConfigError: The network has another number of keypoints.
    """
    dataset = hgedge.datasets.open(path, split)
    count = len(dataset.keypoint_set)
    if count != config.model.num_keypoints:
        raise ConfigError(
            f"the network predicts {config.model.num_keypoints} keypoints, but {path} is labelled with {count}; "
            f"set model.num_keypoints to {count}"
        )
    files = {person.image for person in dataset.people if person.pixels is None}
    missing = sorted(file for file in files if not file.is_file())
    if missing:
        raise SourceError(
            f"{len(missing)} of the {len(files)} pictures of split {split!r} of {path} are missing, such as "
            f"{missing[0]}; get the whole data set"
        )
    return dataset


def labels_digest(dataset: Dataset) -> str:
    """The sha256 of what a split is labelled with, to tell it from another under the same name."""
    digest = hashlib.sha256(repr(dataset.keypoint_set).encode())
    for person in dataset.people:
        for array in (person.keypoints[person.labelled], person.labelled, person.box_xyxy):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
