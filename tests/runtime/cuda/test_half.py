"""half.cuh's written-out conversions against NumPy's: every half, every boundary between two, and floats at random."""

import ctypes

import numpy as np
import pytest

HALVES = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(scope="module")
def conversions(host_kernels):
    """(to_float, to_half) on arrays."""
    library = ctypes.CDLL(str(host_kernels))

    def conversion(name, out_dtype):
        def convert(values):
            out = np.empty(values.shape, out_dtype)
            library[name](
                ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_longlong(values.size)
            )
            return out

        return convert

    return conversion("host_half_to_float", np.float32), conversion("host_float_to_half", np.uint16)


def bits_of_halves(values):
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).view(np.uint16)
    return np.where(np.isnan(values), 0x7FFF, halves)  # the GPU has one NaN


def test_every_half_to_float(conversions):
    expected = HALVES.view(np.float16).astype(np.float32)
    found = conversions[0](HALVES)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), ~numbers)
    np.testing.assert_array_equal(found.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])


def test_every_half_comes_back(conversions):
    to_float, to_half = conversions
    numbers = ~np.isnan(HALVES.view(np.float16))
    np.testing.assert_array_equal(to_half(to_float(HALVES)), np.where(numbers, HALVES, 0x7FFF))


def test_rounding_at_every_boundary_between_two_halves(conversions):
    """Half way between neighbours, to even; and the floats on either side of that."""
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    above = np.append(finite[1:], 65536.0)
    middles = ((finite + above) / 2).astype(np.float32)
    near = np.concatenate([middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(np.inf))])
    for values in (near, -near):
        np.testing.assert_array_equal(conversions[1](values), bits_of_halves(values))


def test_floats_of_all_exponents(conversions):
    values = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint32).view(np.float32)
    edges = np.array([0x0, 0x1, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000], np.uint32)
    for some in (values, edges.view(np.float32), (edges | 0x80000000).view(np.float32)):
        np.testing.assert_array_equal(conversions[1](some), bits_of_halves(some))
