"""What the GPU benchmarks share: the device, engines on it, people in photographs. Where something lacks, they skip."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

import hgedge.checkpoints
import hgedge.datasets
from hgedge import backends, geometry
from hgedge.builder import BuildOptions, build
from hgedge.builder.golden_crops import PHOTOGRAPH
from hgedge.bundle import open_bundle
from hgedge.checkpoints import load_checkpoint
from hgedge.errors import BackendUnavailable, HgedgeError
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.preprocess import crop

ENGINES = {  # backend, precision, what else its builder is asked for
    "torch fp32": ("torch", "fp32", {}),
    "torch fp16": ("torch", "fp16", {}),
    "tensorrt fp16": ("tensorrt", "fp16", {}),
    "tensorrt int8": ("tensorrt", "int8", {}),
    "tensorrt-rtx fp16": ("tensorrt-rtx", "fp16", {}),
    "tensorrt-rtx fp16 for this GPU": ("tensorrt-rtx", "fp16", {"gpu_capability": ("current",)}),
    "tensorrt-rtx fp16 for 8.0": ("tensorrt-rtx", "fp16", {"gpu_capability": ("8.0",)}),
    "tensorrt-rtx int8": ("tensorrt-rtx", "int8", {}),
}
SIZES = (1, 16)
CALIBRATION_IMAGES = 32  # of a network with seeded weights, whose speed does not depend on its ranges


@pytest.fixture(scope="session")
def context():
    """The primary context of GPU 0."""
    try:
        made = CudaContext()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="session", params=["default", "hg2"])
def model(request):
    return request.param


@pytest.fixture(scope="session")
def checkpoint(model, request):
    """The model with its weights: trained, or seeded."""
    return hgedge.checkpoints.resolve(None) if model == "default" else load_checkpoint(request.getfixturevalue(model))


@pytest.fixture(scope="session")
def open_engine(model, checkpoint, request, tmp_path_factory):
    """open_engine(name): a DeviceSession for batches of SIZES; HgedgeError where it cannot be had."""
    folder = tmp_path_factory.mktemp("engines")
    made, failed = {}, {}

    def built(name):
        backend, precision, options = ENGINES[name]
        if model != "default":
            options = {**options, "model": str(request.getfixturevalue(model))}
            if precision == "int8":
                data = request.getfixturevalue("lspet")
                options |= {"calibration": data, "calibration_images": CALIBRATION_IMAGES}
        output = folder / name.replace(" ", "-")
        return build(BuildOptions(backend=backend, precision=precision, batch=SIZES, output=output, **options)).bundle

    def loaded(name):
        backend, precision, _ = ENGINES[name]
        if backend == "torch":
            return torch_engine(checkpoint, precision)
        if name not in made:
            made[name] = built(name)
        return backends.sessions(backend).load(made[name], open_bundle(made[name]))

    def opened(name):
        if name in failed:
            raise failed[name]
        try:
            return loaded(name)
        except HgedgeError as error:
            failed[name] = error
            raise

    return opened


def torch_engine(checkpoint, precision):
    import torch

    from hgedge.backends.torch.cuda import TorchCudaSession

    if not torch.cuda.is_available():
        raise BackendUnavailable(f"PyTorch {torch.__version__} finds no CUDA device")
    return TorchCudaSession(checkpoint.net, checkpoint.input, precision, sizes=SIZES)


@dataclass(frozen=True)
class People:
    """People in photographs; of LSPET val with labels, or else one without.

    Attributes:
        pictures: (H, W, 3) uint8 BGR, one a person.
        boxes: (4,) each.
        keypoint_set: Names of the labels; None: there are none.
        keypoints: (P, K, 2) picture pixels.
        labelled: (P, K) bool.
    """

    pictures: list
    boxes: list
    data: str
    keypoint_set: object = None
    keypoints: object = None
    labelled: object = None

    def crops(self, spec):
        """The (P, h, w, C) uint8 crops, and their (P, 2, 3) affine maps."""
        affines = np.stack([geometry.frame_from_input(box, spec.hw) for box in self.boxes])
        out = np.empty((len(self.boxes), *spec.hw, spec.channels), np.uint8)
        for picture, affine, buffer in zip(self.pictures, affines, out):
            crop(picture, affine, buffer)
        return out, affines


@pytest.fixture(scope="session")
def astronaut():
    return cv2.imread(str(PHOTOGRAPH))


@pytest.fixture(scope="session")
def people(request, astronaut):
    try:
        dataset = hgedge.datasets.open(request.getfixturevalue("lspet"), "val")
    except pytest.skip.Exception:
        return People([astronaut], [geometry.whole_frame_box(astronaut.shape[:2])], "the astronaut alone")
    found = dataset.people
    return People(
        [person.read() for person in found],
        [person.box_xyxy for person in found],
        f"{len(found)} people of LSPET val",
        dataset.keypoint_set,
        np.stack([person.keypoints for person in found]),
        np.stack([person.labelled for person in found]),
    )
