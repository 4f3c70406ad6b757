"""The kernels on a device equal the NumPy references."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hgedge import geometry
from hgedge.errors import KernelError, ShapeError
from hgedge.runtime.cuda import nvrtc, shipped
from hgedge.runtime.cuda.affines import fixed_point, frame_from_cells
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.kernels import DeviceFrame, Kernels
from hgedge.runtime.decode import decode
from hgedge.runtime.pixels import PIXELS, bgr_from, frame_hw
from hgedge.runtime.preprocess import reference_crop
from hgedge.spec import DecodeSpec, InputSpec

pytestmark = pytest.mark.gpu

VALUES = 1e-3  # of normalised pixels, and of scores, in float32
HALF_STEP = 2.0**-11  # float16 rounds by so much of a value
KEYPOINT_PX = 0.05  # of the frame
SPECS = {
    "rgb": InputSpec((24, 40), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bgr": InputSpec((32, 32), "bgr", (0.5, 0.4, 0.3)),
    "gray": InputSpec((17, 23), "gray", (0.45,), (0.25,)),
}


class Device:
    """A context with its kernels and a stream, and arrays to and from it."""

    def __init__(self, cuda: Any, context: CudaContext) -> None:
        self.cuda, self.context = cuda, context
        with context:
            self.stream = cuda.Stream()

    def upload(self, array: np.ndarray) -> Any:
        memory = self.cuda.mem_alloc(array.nbytes)
        self.cuda.memcpy_htod(memory, np.ascontiguousarray(array))
        return memory

    def download(self, memory: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        self.stream.synchronize()
        array = np.empty(shape, dtype)
        self.cuda.memcpy_dtoh(array, memory)
        return array

    def crops(self, kernels: Kernels, frame: np.ndarray, pixels: str, affines: np.ndarray, spec: InputSpec, half: bool):
        """What `preprocess` makes of the rows of a frame that lie farther apart than they are long."""
        rows = frame.reshape(len(frame), -1)
        padded = np.full((len(rows), rows.shape[1] + 13), 201, np.uint8)
        padded[:, : rows.shape[1]] = rows
        shape, dtype = (len(affines), spec.channels, *spec.hw), np.float16 if half else np.float32
        with self.context:
            memory, maps = self.upload(padded), self.upload(fixed_point(affines))
            out = self.upload(np.full(shape, np.nan, dtype))
            picture = DeviceFrame(int(memory), frame_hw(frame, pixels), padded.shape[1], pixels)
            kernels.preprocess(picture, int(maps), len(affines), int(out), half, spec, self.stream)
            return self.download(out, shape, dtype)

    def keypoints(self, kernels: Kernels, heatmaps: np.ndarray, affines: np.ndarray, spec: DecodeSpec) -> np.ndarray:
        """What `decode` finds: (N, K, 3)."""
        shape = (*heatmaps.shape[:2], 3)
        with self.context:
            memory, maps = self.upload(heatmaps), self.upload(frame_from_cells(affines, spec.stride))
            out = self.upload(np.full(shape, -1, np.float32))
            half = heatmaps.dtype == np.float16
            kernels.decode(int(memory), half, heatmaps.shape, int(maps), spec, int(out), self.stream)
            return self.download(out, shape, np.float32)


@pytest.fixture(scope="module")
def device(cuda) -> Iterator[Device]:
    context = CudaContext()
    made = Device(cuda, context)
    yield made
    with context:
        del made.stream
    context.close()


@pytest.fixture(scope="module")
def kernels(device) -> Iterator[Kernels]:
    loaded = Kernels(device.context)
    yield loaded
    with device.context:
        loaded.close()


@pytest.fixture(scope="module")
def photograph(root) -> np.ndarray:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'hgedge[video]'")
    return cv2.resize(cv2.imread(str(root / "hgedge" / "pictures" / "astronaut.jpg")), (160, 120))


def frame_of(photograph: np.ndarray, pixels: str) -> np.ndarray:
    import cv2

    if pixels == "nv12":
        planar = cv2.cvtColor(photograph, cv2.COLOR_BGR2YUV_I420).ravel()
        luma, chroma = (
            planar[: photograph.shape[0] * photograph.shape[1]],
            planar[photograph.shape[0] * photograph.shape[1] :],
        )
        return np.concatenate([luma, chroma.reshape(2, -1).T.ravel()]).reshape(-1, photograph.shape[1])
    codes = {"bgrx": cv2.COLOR_BGR2BGRA, "gray": cv2.COLOR_BGR2GRAY}
    return cv2.cvtColor(photograph, codes[pixels]) if pixels in codes else photograph


def crops_of(spec: InputSpec) -> np.ndarray:
    """Inside, turned over the border, far outside, the whole frame, one pixel a pixel."""
    boxes = [(20.3, 10.7, 90.1, 80.2), (-30, -20, 60, 70), (900, 900, 950, 950), (-0.5, -0.5, 159.5, 119.5)]
    affines = [geometry.frame_from_input(np.array(box), spec.hw, 33.0 * i) for i, box in enumerate(boxes)]
    return np.stack([*affines, np.array([[1.0, 0, 3], [0, 1.0, 4]])])


def reference(frame: np.ndarray, pixels: str, affines: np.ndarray, spec: InputSpec) -> np.ndarray:
    import cv2

    picture = bgr_from(frame, pixels)
    if spec.color == "gray":
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    crops = np.stack([reference_crop(picture, affine, spec.hw) for affine in affines])
    ordered = crops[..., ::-1] if spec.color == "rgb" else crops
    return ((ordered / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("color", SPECS)
@pytest.mark.parametrize("pixels", PIXELS)
def test_crops_equal_the_reference(device, kernels, photograph, pixels, color, half) -> None:
    frame, spec = frame_of(photograph, pixels), SPECS[color]
    affines = crops_of(spec)
    found = device.crops(kernels, frame, pixels, affines, spec, half)
    expected = reference(frame, pixels, affines, spec)
    tolerance = VALUES + (HALF_STEP * np.abs(expected) if half else 0)
    assert (np.abs(found - expected) <= tolerance).all()


def peaks(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Maps of noise with a Gaussian on top, here and there on the border."""
    height, width = shape[2:]
    centers = random.uniform(-1, 1, (2, *shape[:2], 1, 1)) * np.array([height, width]).reshape(2, 1, 1, 1, 1) * 0.55
    y, x = np.mgrid[:height, :width]
    squared = (x - width / 2 - centers[1]) ** 2 + (y - height / 2 - centers[0]) ** 2
    return (np.exp(-squared / (2 * 1.5**2)) + random.uniform(0, 0.02, shape)).astype(np.float32)


def heatmaps_of(kind: str) -> np.ndarray:
    random = np.random.default_rng(0)
    if kind == "peaks":
        return peaks(random, (5, 16, 64, 64))
    if kind == "odd":
        return peaks(random, (2, 3, 13, 29))
    if kind == "tied":
        return random.integers(0, 3, (2, 4, 16, 16)).astype(np.float32)
    if kind == "pixel":
        return random.normal(size=(2, 3, 1, 1)).astype(np.float32)
    broken = peaks(random, (2, 6, 16, 16))
    broken[random.random(broken.shape) < 0.3] = np.nan
    broken[0, 1], broken[1, 2], broken[0, 3] = np.nan, -np.inf, np.inf
    return broken


@pytest.mark.parametrize("refinement", ["quarter", "dark"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", ["peaks", "odd", "tied", "pixel", "nan"])
def test_keypoints_equal_the_reference(device, kernels, kind, dtype, refinement) -> None:
    heatmaps, spec = heatmaps_of(kind).astype(dtype), DecodeSpec(refinement=refinement)
    boxes = np.random.default_rng(1).uniform(0, 200, (len(heatmaps), 2))
    affines = np.stack([geometry.frame_from_input(np.array([*xy, *(xy + 150)]), (256, 256), 20) for xy in boxes])
    found = device.keypoints(kernels, heatmaps, affines, spec)
    located, scores = decode(heatmaps, spec.stride, spec.shift, spec.refinement)
    expected = np.stack([geometry.transform(affine, one) for affine, one in zip(affines, located)])
    assert np.abs(found[..., :2] - expected).max() <= KEYPOINT_PX
    np.testing.assert_array_equal(found[..., 2], scores)


def test_every_half_becomes_its_float(device, kernels, real_device) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256, 1, 1)
    affines = np.repeat(np.eye(2, 3)[None], 256, axis=0)
    scores = device.keypoints(kernels, halves, affines, DecodeSpec(stride=1))[..., 2]
    np.testing.assert_array_equal(scores, halves[..., 0, 0].astype(np.float32))


@pytest.mark.parametrize("origin", ["ptx", "nvrtc", "nvcc"])
def test_every_origin_makes_the_same_kernels(device, kernels, photograph, origin, request) -> None:
    if origin != "ptx":
        request.getfixturevalue("real_device")  # what compilers make is for a GPU alone
    try:
        loaded = Kernels(device.context, [origin])
    except KernelError as error:
        if any(lack in str(error) for lack in ("found no NVRTC", "found no nvcc", "is newer than the driver")):
            pytest.skip(str(error))
        raise
    version = ".".join(map(str, shipped.choose(device.context.cuda_version)))
    assert loaded.origin.startswith({"ptx": f"PTX for CUDA {version}", "nvrtc": "NVRTC ", "nvcc": "nvcc "}[origin])
    check_same(device, kernels, loaded, photograph)


@pytest.mark.parametrize("version", shipped.VERSIONS)
def test_all_ptx_that_the_driver_takes_is_the_same(device, kernels, photograph, version, monkeypatch) -> None:
    if version > device.context.cuda_version:
        pytest.skip(f"the driver is older than CUDA {version[0]}.{version[1]}")
    monkeypatch.setattr(device.context, "cuda_version", version)
    loaded = Kernels(device.context, ["ptx"])
    assert loaded.origin == f"PTX for CUDA {version[0]}.{version[1]}"
    check_same(device, kernels, loaded, photograph)


def check_same(device: Device, kernels: Kernels, others: Kernels, photograph: np.ndarray) -> None:
    spec = SPECS["rgb"]
    crops = [device.crops(one, photograph, "bgr", crops_of(spec), spec, False) for one in (kernels, others)]
    np.testing.assert_allclose(*crops, atol=VALUES)
    heatmaps, affines = heatmaps_of("peaks"), np.repeat(np.eye(2, 3)[None], 5, axis=0)
    for refinement in ("quarter", "dark"):
        found = [
            device.keypoints(one, heatmaps, affines, DecodeSpec(refinement=refinement)) for one in (kernels, others)
        ]
        np.testing.assert_allclose(*found, atol=VALUES)
    with device.context:
        others.close()
        others.close()


def test_what_the_driver_refuses_is_told_of_every_origin(device, simulated, monkeypatch) -> None:
    if not simulated or device.context.cuda_version >= (13, 0):
        pytest.skip("the simulated driver refuses all machine code, and PTX of CUDA 13 where it is older")
    monkeypatch.setattr(device.context, "cuda_version", (13, 0))
    try:
        nvrtc.find((13, 0))
    except KernelError as error:
        pytest.skip(str(error))
    with pytest.raises(KernelError) as told:
        Kernels(device.context, ["ptx", "nvrtc"])
    head, ptx, compiled = str(told.value).splitlines()
    assert head.startswith(f"found no CUDA kernels for {device.context.capability} and a driver of CUDA 13.0")
    assert ptx.startswith("- the driver refuses the kernels from PTX for CUDA 13.0: cuModuleLoadDataEx failed")
    assert compiled.startswith("- the driver refuses the kernels from NVRTC ")


@pytest.mark.parametrize("count", [0, 65536])
def test_a_number_of_crops_that_no_launch_can_do_is_refused(device, kernels, count) -> None:
    frame, told = DeviceFrame(0, (4, 4), 12, "bgr"), f"a launch takes 1 to 65535 crops, but got {count}"
    with pytest.raises(ShapeError, match=told):
        kernels.preprocess(frame, 0, count, 0, False, SPECS["rgb"], device.stream)


@pytest.mark.parametrize("shape", [(1, 1, 0, 4), (1, 0, 4, 4), (0, 1, 4, 4), (1, 1, 4097, 4096)])
def test_heatmaps_that_no_launch_can_do_are_refused(device, kernels, shape) -> None:
    with pytest.raises(ShapeError, match="heatmaps must have sizes of at least 1 and at most 16777216 cells"):
        kernels.decode(0, False, shape, 0, DecodeSpec(), 0, device.stream)


def test_a_launch_in_a_foreign_thread_is_told(device, kernels) -> None:
    told = []

    def launch() -> None:
        try:
            kernels.decode(0, False, (1, 1, 4, 4), 0, DecodeSpec(), 0, device.stream)
        except KernelError as error:
            told.append(str(error))

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    assert told and "launch it within `with context:`" in told[0]
