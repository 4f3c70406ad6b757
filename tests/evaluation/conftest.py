"""Labels as arrays, without a folder of pictures."""

from pathlib import Path

import numpy as np
import pytest

import hgedge.datasets
from hgedge.datasets import Dataset, Person
from hgedge.evaluation.labels import labels_of


@pytest.fixture
def labels():
    """labels(keypoint_set, keypoints, labelled=None, units=None, areas=None, pictures=None) of a made-up split."""

    def make(keypoint_set, keypoints, labelled=None, units=None, areas=None, pictures=None):
        labelled = np.ones(keypoints.shape[:2], bool) if labelled is None else labelled
        people = tuple(
            Person(
                Path(pictures[i] if pictures is not None else f"{i}.jpg"),
                keypoints[i],
                labelled[i],
                np.array([0.0, 0.0, 100.0, 100.0]),
                unit_px=None if units is None else units[i],
                area=None if areas is None else areas[i],
            )
            for i in range(len(keypoints))
        )
        return labels_of(Dataset("made", "val", keypoint_set, people), np.arange(len(people)))

    return make


@pytest.fixture(scope="session")
def mpii_labels(shared_data):
    """Labels of MPII's validation split."""
    dataset = hgedge.datasets.open(shared_data / "mpii_val", "val")
    return labels_of(dataset, np.arange(len(dataset)))


@pytest.fixture(scope="session")
def lspet_labels(shared_data):
    dataset = hgedge.datasets.open(shared_data / "lspet", "val")
    return labels_of(dataset, np.arange(len(dataset)))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint, tmp_path_factory):
    """The tiny network as an FP32 engine."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    from hgedge.builder import BuildOptions, build

    output = tmp_path_factory.mktemp("engines")
    return build(BuildOptions(str(tiny_checkpoint), precision="fp32", backend="openvino", output=output)).bundle
