"""What the host hands to kernels, and what it says where there are none; that they run is shown in gpu/."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgedge.errors import KernelError, ShapeError
from hgedge.geometry import frame_from_input, input_from_cells, transform
from hgedge.runtime.cuda import kernels, nvcc, nvrtc
from hgedge.runtime.cuda.affines import UNITS, fixed_point, frame_from_cells
from hgedge.runtime.cuda.kernels import ARGUMENTS, DeviceFrame, Kernels
from hgedge.runtime.cuda.sources import KERNELS, source_of
from hgedge.runtime.preprocess import normalise
from hgedge.spec import MAX_SIDE, InputSpec

FIXED_POINT_PX = 1e-6  # two numbers rounded to 2^-33, times 4096
ANY_DRIVER = (99, 0)
FLOAT32_PX = 1e-3  # a float32 near 8192 has steps of 2^-11, and the sum has three of them

finite = st.floats(-5000, 5000)


def random_affines(count: int) -> np.ndarray:
    """Crops of every size and angle, on and off an 8K frame."""
    random = np.random.default_rng(0)
    corners = random.uniform(-2000, 8000, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 4000, (count, 2))], axis=1)
    return np.stack([frame_from_input(box, (MAX_SIDE, MAX_SIDE), random.uniform(0, 360)) for box in boxes])


def test_fixed_point_is_where_float64_is() -> None:
    affines = random_affines(200)
    u, v = np.array([[0, 0], [MAX_SIDE - 1, 0], [0, MAX_SIDE - 1], [MAX_SIDE - 1] * 2, [1234, 567]]).T
    fixed = fixed_point(affines)
    assert fixed.shape == (200, 6) and fixed.dtype == np.int64
    for axis in range(2):
        a, b, c = (fixed[:, 3 * axis + i, None] for i in range(3))
        points = (a * u + b * v + c) / UNITS
        expected = affines[:, axis, 0, None] * u + affines[:, axis, 1, None] * v + affines[:, axis, 2, None]
        assert np.abs(points - expected).max() < FIXED_POINT_PX


@given(a=finite, b=finite, c=finite)
def test_fixed_point_holds_whole_numbers_and_halves_exactly(a, b, c) -> None:
    affine = np.round(np.array([[[a, b, c], [c, a, b]]]) * 2) / 2
    assert (fixed_point(affine) == (affine.reshape(1, 6) * UNITS).astype(object)).all()


@pytest.mark.parametrize("corner", [2.0**31, -(2.0**31), 1e300, np.inf, np.nan])
def test_crops_beyond_whole_numbers_are_refused(corner) -> None:
    affine = np.array([[[1.0, 0, corner], [0, 1.0, 0]]])
    with pytest.raises(
        ShapeError, match="a crop must lie within 2147483647 pixels of the frame's corner, but one reaches"
    ):
        fixed_point(np.concatenate([random_affines(1), affine]))


def test_the_farthest_crop_that_is_taken_does_not_overflow() -> None:
    affine = np.array([[[0.0, 0, 2.0**31 - 2], [-(2.0**31 - 2) / MAX_SIDE, 0, 0]]])
    a = fixed_point(affine)[0].astype(object)
    assert a[2] == (2**31 - 2) << 32
    assert -(2**63) <= a[3] * MAX_SIDE and a[2] + (1 << 32) < 2**63  # the right neighbour too


@pytest.mark.parametrize(
    "affines", [np.zeros((2, 3)), np.zeros((1, 3, 3)), np.zeros((1, 2, 3), np.float32)], ids=["one", "3x3", "float32"]
)
@pytest.mark.parametrize("make", [fixed_point, lambda affines: frame_from_cells(affines, 4)], ids=["fixed", "cells"])
def test_what_is_no_stack_of_maps_is_refused(make, affines) -> None:
    with pytest.raises(ShapeError, match=r"affines must be \(N, 2, 3\) float64, but got shape .*float"):
        make(affines)


@pytest.mark.parametrize("stride", [1, 4, 3.7])
def test_frame_from_cells_is_the_crop_of_the_cell(stride) -> None:
    affines = random_affines(50)
    cells = np.random.default_rng(1).uniform(0, MAX_SIDE / stride, (50, 2))
    maps = frame_from_cells(affines, stride)
    assert maps.shape == (50, 6) and maps.dtype == np.float32
    for affine, cell, flat in zip(affines, cells, maps):
        expected = transform(affine, input_from_cells(cell, stride))
        assert np.abs(transform(flat.reshape(2, 3), cell.astype(np.float32)) - expected).max() < FLOAT32_PX


@pytest.mark.parametrize(
    ("hw", "pitch", "pixels", "told"),
    [
        ((4, 4), 12, "rgb", "pixels must be one of bgr, bgrx, nv12, gray, but got 'rgb'"),
        ((4, 4), 11, "bgr", "rows that fit in its pitch"),
        ((4, 4), 15, "bgrx", "rows that fit in its pitch"),
        ((4, 4), 3, "nv12", "rows that fit in its pitch"),
        ((0, 4), 12, "bgr", "must have pixels"),
        ((4, 4), 2**31, "gray", "rows that fit in its pitch"),
        ((5, 4), 4, "nv12", "NV12 must have an even height and width, but got 5 x 4"),
        ((4, 5), 5, "nv12", "NV12 must have an even height and width, but got 4 x 5"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused(hw, pitch, pixels, told) -> None:
    with pytest.raises(ShapeError, match=told):
        DeviceFrame(0, hw, pitch, pixels)


@pytest.mark.parametrize("kernel", KERNELS)
def test_arguments_are_packed_as_the_kernel_declares_them(kernel) -> None:
    (declared,) = re.findall(rf"\b{kernel}\(([^)]*)\)\s*\{{", source_of(kernel).text.partition('extern "C"')[2])
    letters = "".join("P" if "*" in one else one.split()[-2][0] for one in re.sub(r"//.*", "", declared).split(","))
    assert letters == ARGUMENTS[kernel].format


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_scale_and_offset_normalise(color) -> None:
    channels = 1 if color == "gray" else 3
    spec = InputSpec((2, 2), color, (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.1)[:channels])
    crop = np.random.default_rng(2).integers(0, 256, (1, 2, 2, channels), dtype=np.uint8)
    numbers = np.array(kernels._scales_and_offsets(spec))
    scales, offsets = numbers[:channels, None, None], numbers[3 : 3 + channels, None, None]
    ordered = (crop[..., ::-1] if color == "rgb" else crop).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ordered * scales + offsets, normalise(crop, spec), atol=1e-5)  # float32 against float64
    assert len(numbers) == 6


@pytest.mark.parametrize(("origin", "module"), [("nvrtc", nvrtc), ("nvcc", nvcc)])
def test_compilers_make_machine_code_for_the_gpu_and_it_is_kept(origin, module, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        compiler = module.find(ANY_DRIVER)
    except KernelError as error:
        pytest.skip(str(error))
    told, images = kernels.ORIGINS[origin](ANY_DRIVER, "sm_87")
    assert told == f"{compiler.name} for sm_87"
    assert images.keys() == set(KERNELS) and all(image.startswith(b"\x7fELF") for image in images.values())
    kept = {path.read_bytes() for path in (tmp_path / "hgedge" / "kernels").iterdir()}
    assert kept == set(images.values())


class OldContext(contextlib.nullcontext):
    """Of a GPU whose driver is older than all PTX that hgedge brings."""

    cuda_version = (11, 4)
    capability = "sm_87"


def test_without_ptx_nvrtc_and_nvcc_each_tells_what_it_lacks(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(()))
    monkeypatch.setattr(nvcc, "TOOLKIT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError) as told:
        Kernels(OldContext())
    assert str(told.value).splitlines() == [
        "found no CUDA kernels for sm_87 and a driver of CUDA 11.4; one of these must be put right:",
        "- hgedge brings PTX for drivers of CUDA 11.7 and later, but this one is of 11.4; update the driver",
        "- found no NVRTC for a driver of CUDA 11.4; install it with: pip install nvidia-cuda-nvrtc-cu11",
        f"- found no nvcc on PATH nor in {tmp_path}; it comes with the CUDA toolkit 11.4",
    ]
