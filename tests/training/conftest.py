"""A data set of drawn figures in LSPET's layout, for runs that must be quick."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat

from hgedge.models.hourglass import HourglassConfig
from hgedge.training.config import Phase, TrainingConfig
from hgedge.visualization.figures import figure_picture


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks as small as these gain nothing from more, and lose much where other programs run besides."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def environment(program_environment):
    """The same for programs of their own."""
    return {**program_environment, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    (root / "images").mkdir()
    joints, rows = [], ["row,image,split"]
    for index in range(40):
        picture, keypoints = figure_picture((96, 96), seed=index)
        cv2.imwrite(str(root / "images" / f"{index:03}.png"), picture)
        joints.append(np.column_stack([keypoints, np.ones(14)]))
        rows.append(f"{index},{index:03}.png,{'train' if index < 32 else 'val'}")
    savemat(root / "joints.mat", {"joints": np.stack(joints, axis=-1)})
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def small(figures):
    """small(output, **changes): a run of four epochs of four steps each."""

    def config(output, **changes):
        plain = {
            "data": str(figures), "output": str(output), "phases": (Phase(0.0, 32), Phase(0.5, 64)), "epochs": 4,
            "model": HourglassConfig(num_stacks=1, num_features=16, depth=2, num_keypoints=14),
            "batch_size": 8, "learning_rate": 5e-3, "precision": "fp32", "ema_decay": 0.5, "device": "cpu",
        }  # fmt: skip
        return TrainingConfig(**{**plain, **changes})

    return config


@pytest.fixture(scope="session")
def log_of():
    return lambda output: [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
