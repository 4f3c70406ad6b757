"""The validation split after an epoch: what the network finds there, and the accuracy that fits the data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hgedge import geometry
from hgedge.datasets import Dataset
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import FAMILIES, kinds
from hgedge.progress import Progress
from hgedge.runtime.decode import decode
from hgedge.sources.opencv import cv2
from hgedge.spec import InputSpec
from hgedge.training.data import Ahead, Pictures, network_input
from hgedge.training.distributed import World

BATCH = 32
MAIN = {"PCKh": "PCKh@0.5 mean of 14", "NME": "NME", "OKS": "AP", "PCK": "PCK@0.2 pooled"}
LOWER_IS_BETTER = ("NME",)


@dataclass(frozen=True)
class Found:
    """What a network finds: keypoints (P, K, 2) float64 in the data set's pixels, and peaks (P, K)."""

    keypoints: np.ndarray
    peaks: np.ndarray


class Validation:
    """Scores networks on one split.

    Attributes:
        metric: The one number that says which epoch is best, such as "PCK@0.2 pooled".
    """

    def __init__(self, dataset: Dataset, pictures: Pictures, workers: int) -> None:
        self.dataset, self.pictures, self.workers = dataset, pictures, workers
        self.labels = labels_of(dataset, np.arange(len(dataset)))
        self.kind = kinds(self.labels)[0]
        self.metric = MAIN[self.kind]

    def gain(self, value: float) -> float:
        """The metric's value as a number of which higher is better; none at all is the worst."""
        if not np.isfinite(value):
            return -np.inf
        return -value if self.kind in LOWER_IS_BETTER else value

    @torch.inference_mode()
    def find(self, net: nn.Module, spec: InputSpec, stride: int, bf16: bool, world: World, progress: Progress) -> Found:
        """Predict everybody's keypoints; the processes of a run share the work.

        Args:
            net: In evaluation mode; its last stack counts.
            spec: Colours and size of crops.
            stride: Input pixels a cell.
            bf16: Whether to compute in 16 bits where that is usual.
            world: The processes.
            progress: Told about crops done.
        """
        own = world.share(range(len(self.dataset)))
        batches = [own[start : start + BATCH] for start in range(0, len(own), BATCH)]
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for affines, crops in Ahead(lambda indices: self._crops(indices, spec), batches, self.workers):
            images = network_input(crops.to(world.device, non_blocking=True), spec)
            with torch.autocast(world.device.type, torch.bfloat16, enabled=bf16):
                heatmaps = net(images)[:, -1]
            keypoints, peaks = decode(heatmaps.float().cpu().numpy(), stride)
            found += [(geometry.transform(a, k), p) for a, k, p in zip(affines, keypoints, peaks)]
            progress("score", len(found), len(own))
        everybody = world.interleaved(found)
        return Found(
            np.stack([keypoints for keypoints, _ in everybody]) + self.dataset.origin_px,
            np.stack([peaks for _, peaks in everybody]),
        )

    def metrics(self, found: Found) -> dict[str, float]:
        """The metrics of the data set's own kind that are averaged as the main one is."""
        family = FAMILIES[self.kind](Predictions(found.keypoints, found.peaks.mean(axis=1)), self.labels)
        values = {name: float(value[0]) for measure in family.measures for name, value in measure.metrics().items()}
        average = self.metric.partition(" ")[2]
        return {
            name: round(value, 3)
            for name, value in {**family.totals, **values}.items()
            if name.partition(" ")[2] == average
        }

    def affine(self, index: int, spec: InputSpec) -> np.ndarray:
        """From pixels of somebody's crop to those of the picture."""
        return geometry.frame_from_input(self.dataset.people[index].box_xyxy - self.dataset.origin_px, spec.hw)

    def crop(self, index: int, spec: InputSpec) -> np.ndarray:
        """Somebody's crop, (H, W, C) uint8, as `hgedge.runtime.preprocess.crop` cuts it."""
        height, width = spec.hw
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = self.pictures.read(self.dataset.people[index])
        cropped = cv2.warpAffine(picture, self.affine(index, spec), (width, height), flags=flags)
        return cropped.reshape(height, width, spec.channels)

    def _crops(self, indices: range, spec: InputSpec) -> tuple[list[np.ndarray], Tensor]:
        crops = np.stack([self.crop(index, spec) for index in indices])
        return [self.affine(index, spec) for index in indices], torch.from_numpy(crops)
