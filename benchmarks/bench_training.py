"""Training: forward, forward and backward, and making the batches that it is fed with.

All is warmed up until it is steady, and the deviation over rounds stands beside the mean in the table. The network has
the default's shape and seeded weights, and sees drawn figures; batches are made of LSPET's people, by one thread.
"""

import numpy as np
import pytest

from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.device import cpu
from hgedge.visualization.figures import figure_picture

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'hgedge[train]'")

from hgedge.datasets.keypoint_sets import LSP14  # noqa: E402
from hgedge.models.hourglass import HourglassConfig  # noqa: E402
from hgedge.training.config import Phase, TrainingConfig  # noqa: E402
from hgedge.training.data import Batch, Pictures, Samples, open_split, opencv_on_one_thread  # noqa: E402
from hgedge.training.distributed import World  # noqa: E402
from hgedge.training.learner import Learner, has_bf16  # noqa: E402

BATCH, SIZE = 2, 128  # crops, and their side
LOADED, LOADED_SIZE = 16, 192  # crops in a batch that is made, as the default was trained
CPU = torch.device("cpu")


def config(**changes):
    model = HourglassConfig(num_stacks=2, num_features=128, num_keypoints=14)
    return TrainingConfig(**{"data": "", "output": "", "model": model, "phases": (Phase(0.0, SIZE),), **changes})


@pytest.fixture(params=["fp32", "bf16"])
def learner(request):
    if request.param == "bf16" and not has_bf16(CPU):
        pytest.skip(f"{cpu().name} has no bf16")
    made = Learner(config(precision=request.param), LSP14, World(0, 1, CPU))
    made.begin_epoch()
    return made


@pytest.fixture(scope="module")
def batch():
    crops, keypoints = zip(*(figure_picture((SIZE, SIZE), seed) for seed in range(BATCH)))
    points = np.stack(keypoints)
    target, counts = gaussian_heatmaps(points, np.ones(points.shape[:2], bool), (SIZE // 4, SIZE // 4))
    return Batch(*map(torch.from_numpy, (np.stack(crops), target, counts)))


def loss_of(learner, batch):
    return learner.loss(batch, learner.config.phases[0], batch.counts.sum())


def test_forward(timed, learner, batch):
    timed(lambda: loss_of(learner, batch), "matrix")


def test_forward_backward(timed, learner, batch):
    def run():
        learner.optimizer.zero_grad(set_to_none=True)
        loss_of(learner, batch).backward()

    timed(run, "matrix")


@pytest.mark.parametrize("memory_gb", [0.0, 1.0], ids=["from disk", "from memory"])
def test_batch(timed, lspet, memory_gb):
    how = config(data=str(lspet), phases=(Phase(0.0, LOADED_SIZE),))
    dataset, pictures = open_split(how, how.data, "val"), Pictures(False, memory_gb * 1e9)
    samples = Samples(how, dataset, pictures, 0, LOADED_SIZE, False)
    with opencv_on_one_thread():
        timed(lambda: samples.batch(np.arange(LOADED)), "array")
