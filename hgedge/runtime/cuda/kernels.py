"""The kernels of a CUDA context: loaded once, launched on the caller's streams."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

from hgedge.errors import KernelError, ShapeError
from hgedge.runtime.cuda import nvcc, nvrtc, shipped
from hgedge.runtime.cuda.compiled import Compiler, compiled
from hgedge.runtime.cuda.context import CudaContext, driver
from hgedge.runtime.cuda.sources import KERNELS, source_of
from hgedge.runtime.pixels import PIXELS
from hgedge.spec import DecodeSpec, InputSpec

Images = tuple[str, dict[str, bytes]]  # where they come from; code by kernel

ARGUMENTS = {"preprocess": Struct("PiiiiPPiiiiiffffff"), "decode": Struct("PiiiiPfiP")}
PREPROCESS_BLOCK, DECODE_BLOCK = 256, 128  # threads
MOST_BLOCKS = 65535  # in the second direction of a grid
MOST_BYTES = 2**31 - 1  # of a row of a frame
MOST_CELLS = 2**24  # of a heatmap, 4096 x 4096; float32 counts no further
PIXEL_BYTES = {"bgr": 3, "bgrx": 4, "nv12": 1, "gray": 1}  # in a row; NV12: of luma


@dataclass(frozen=True)
class DeviceFrame:
    """A uint8 picture in memory that the device can read.

    Attributes:
        hw: Height and width of the picture in pixels; an NV12 buffer has half as many rows again.
        pitch: Bytes from one row to the next.
        pixels: One of `PIXELS`.
    """

    address: int
    hw: tuple[int, int]
    pitch: int
    pixels: str

    def __post_init__(self) -> None:
        height, width = self.hw
        if self.pixels not in PIXELS:
            raise ShapeError(f"pixels must be one of {', '.join(PIXELS)}, but got {self.pixels!r}")
        if min(self.hw) < 1 or not width * PIXEL_BYTES[self.pixels] <= self.pitch <= MOST_BYTES:
            raise ShapeError(f"a frame must have pixels, and rows that fit in its pitch, but got {self}")
        if self.pixels == "nv12" and (height % 2 or width % 2):
            raise ShapeError(f"a frame of NV12 must have an even height and width, but got {height} x {width}")


class Kernels:
    """`preprocess` and `decode` on one device.

    Attributes:
        origin: Where they come from, such as "PTX for CUDA 12.0" or "NVRTC 12.6 for sm_87".
    """

    def __init__(self, context: CudaContext, origins: Sequence[str] = ("ptx", "nvrtc", "nvcc")) -> None:
        """Load them into a context.

        Args:
            context: It is entered for the time of the call.
            origins: Of `ORIGINS`; the first that works is taken.

        Raises:
            KernelError: None works; with the reason of each, and what to install.
        """
        reasons = []
        for name in origins:
            try:
                self.origin, images = ORIGINS[name](context.cuda_version, context.capability)
                self._functions = _load(context, images, self.origin)
                return
            except KernelError as error:
                reasons.append(f"- {error}")
        driven = f"{context.capability} and a driver of CUDA {'.'.join(map(str, context.cuda_version))}"
        told = "\n".join(reasons)
        raise KernelError(f"found no CUDA kernels for {driven}; one of these must be put right:\n{told}")

    def preprocess(
        self, frame: DeviceFrame, affines: int, count: int, out: int, half: bool, spec: InputSpec, stream: Any
    ) -> None:
        """Cut crops out of a frame and normalise them: `reference_crop`, then `normalise`.

        Args:
            frame: The picture.
            affines: Address of (count, 6) int64, as `fixed_point` makes them.
            count: How many crops.
            out: Address for (count, channels, height, width), float32 or float16.
            half: Whether that is float16.
            spec: The network's input.
            stream: Of pycuda, in this context.

        Raises:
            ShapeError: `count` is no number of crops that one launch can do.
            KernelError: The driver refuses the launch.
        """
        height, width = spec.hw
        grid = (-(-height * width // PREPROCESS_BLOCK), _blocks(count))
        self._launch(
            "preprocess", grid, PREPROCESS_BLOCK, stream,
            frame.address, frame.hw[1], frame.hw[0], frame.pitch, PIXELS.index(frame.pixels),
            affines, out, half, width, height, spec.channels, spec.color == "rgb", *_scales_and_offsets(spec),
        )  # fmt: skip

    def decode(
        self,
        heatmaps: int,
        half: bool,
        shape: tuple[int, int, int, int],
        affines: int,
        spec: DecodeSpec,
        out: int,
        stream: Any,
    ) -> None:
        """Find the peaks of heatmaps in the frame: `decode` of `hgedge.runtime.decode`, then `transform`.

        Args:
            heatmaps: Address of (N, K, height, width), float32 or float16.
            half: Whether that is float16.
            shape: (N, K, height, width).
            affines: Address of (N, 6) float32, as `frame_from_cells` makes them.
            spec: How heatmaps become keypoints.
            out: Address for (N, K, 3) float32: x and y in frame pixels, score.
            stream: Of pycuda, in this context.

        Raises:
            ShapeError: `shape` holds a size that one launch cannot do.
            KernelError: The driver refuses the launch.
        """
        count, num_keypoints, height, width = shape
        if min(shape) < 1 or height * width > MOST_CELLS:
            raise ShapeError(f"heatmaps must have sizes of at least 1 and at most {MOST_CELLS} cells, but got {shape}")
        dark = spec.refinement == "dark"
        self._launch(
            "decode", (num_keypoints, _blocks(count)), DECODE_BLOCK, stream,
            heatmaps, half, num_keypoints, height, width, affines, spec.shift, dark, out,
        )  # fmt: skip

    def close(self) -> None:
        """Unload them, their context being current; twice is fine."""
        self._functions.clear()

    def _launch(self, name: str, grid: tuple[int, int], block: int, stream: Any, *arguments: float) -> None:
        """One cuLaunchKernel and no more: pycuda's public calls set a block shape too, which threads would share."""
        packed = ARGUMENTS[name].pack(*arguments)
        try:
            self._functions[name]._launch_kernel(grid, (block, 1, 1), packed, 0, stream)
        except driver().Error as error:
            raise KernelError(
                f"{name} cannot be launched: {error}; launch it within `with context:`, on a stream of that context"
            ) from error


def _ptx(cuda_version: tuple[int, int], capability: str) -> Images:
    version = shipped.choose(cuda_version)
    return f"PTX for CUDA {version[0]}.{version[1]}", {name: shipped.read(name, version) for name in KERNELS}


def _nvrtc(cuda_version: tuple[int, int], capability: str) -> Images:
    return _compiled(nvrtc.find(cuda_version), capability)


def _nvcc(cuda_version: tuple[int, int], capability: str) -> Images:
    return _compiled(nvcc.find(cuda_version), capability)


def _compiled(compiler: Compiler, capability: str) -> Images:
    images = {name: compiled(compiler, source_of(name), capability) for name in KERNELS}
    return f"{compiler.name} for {capability}", images


ORIGINS: dict[str, Callable[[tuple[int, int], str], Images]] = {"ptx": _ptx, "nvrtc": _nvrtc, "nvcc": _nvcc}


def _load(context: CudaContext, images: dict[str, bytes], origin: str) -> dict[str, Any]:
    """Functions of pycuda, by kernel; each keeps its module."""
    cuda = driver()
    try:
        with context:
            modules = {name: cuda.module_from_buffer(image + b"\0") for name, image in images.items()}
            return {name: module.get_function(name) for name, module in modules.items()}
    except cuda.Error as error:
        raise KernelError(f"the driver refuses the kernels from {origin}: {error}") from error


def _blocks(count: int) -> int:
    if not 1 <= count <= MOST_BLOCKS:
        raise ShapeError(f"a launch takes 1 to {MOST_BLOCKS} crops, but got {count}; split them")
    return count


@functools.lru_cache(maxsize=16)
def _scales_and_offsets(spec: InputSpec) -> tuple[float, ...]:
    """Three of each; (pixel / 255 - mean) / std is pixel * scale + offset."""
    unused = (0.0,) * (3 - spec.channels)
    scales = tuple(1 / (255 * std) for std in spec.std)
    offsets = tuple(-mean / std for mean, std in zip(spec.mean, spec.std))
    return (*scales, *unused, *offsets, *unused)
