"""decode.cu, run on the CPU, against the NumPy reference: equal cells and scores, whatever the maps hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hgedge import geometry
from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.runtime.cuda.affines import frame_from_cells
from hgedge.runtime.decode import decode as reference

CELLS = np.array([[1, 0, 0, 0, 1, 0]], np.float32)  # out = cells; decode with stride 1 tells the same
CLOSE_CELLS = 1e-4  # float32 blurs and logarithms against float64's
FLOAT32 = 1e-6  # relative: three products and their sum
UNTOUCHED = 77
ODD = [0.0, -0.0, 1.0, 2.0, 6e-8, 60000.0, np.nan, np.inf, -np.inf]  # exact in half
DTYPES = (np.float32, np.float16)


@pytest.fixture(scope="session")
def decode(launch):
    """decode(heatmaps, affines, shift, refinement): the kernel's (N, K, 2) points and (N, K) scores."""

    def run(heatmaps, affines=None, shift=0.25, refinement="quarter"):
        num, keypoints, height, width = heatmaps.shape
        affines = np.repeat(CELLS, num, axis=0) if affines is None else affines
        out = np.full(num * keypoints * 3 + UNTOUCHED, -1234, np.float32)
        launch(
            "decode", (keypoints, num), 128, heatmaps, int(heatmaps.dtype == np.float16), keypoints, height, width,
            affines, float(shift), int(refinement == "dark"), out,
        )  # fmt: skip
        assert (out[-UNTOUCHED:] == -1234).all()
        found = out[:-UNTOUCHED].reshape(num, keypoints, 3)
        return found[..., :2], found[..., 2]

    return run


def same(decode, heatmaps, shift=0.25, refinement="quarter", atol=0.0):
    points, scores = decode(heatmaps, None, shift, refinement)
    expected, expected_scores = reference(heatmaps, 1, shift, refinement)
    np.testing.assert_allclose(points, expected, rtol=0, atol=atol)
    np.testing.assert_array_equal(scores, expected_scores)


def drawn(shape, noise, seed=0):
    """Gaussians as the training targets have them, anywhere on the map, and noise."""
    random = np.random.default_rng(seed)
    num, keypoints, height, width = shape
    places = random.uniform(-0.5, np.array([width, height]) - 0.5, (num, keypoints, 2))
    heatmaps, _ = gaussian_heatmaps(places, np.ones((num, keypoints), bool), (height, width), 1)
    return heatmaps + random.normal(0, noise, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("refinement", ["quarter", "dark"])
@pytest.mark.parametrize("shape", [(2, 16, 48, 48), (1, 5, 64, 47), (3, 4, 12, 9), (2, 3, 5, 5)])
def test_drawn_heatmaps(decode, shape, refinement, dtype):
    heatmaps = drawn(shape, 0.05).astype(dtype)
    same(decode, heatmaps, refinement=refinement, atol=CLOSE_CELLS if refinement == "dark" else 0)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
def test_dark_whatever_the_noise(decode, noise):
    same(decode, drawn((4, 40, 20, 20), noise, seed=1), refinement="dark", atol=CLOSE_CELLS)


@given(
    st.tuples(*[st.integers(1, 2)] * 2, *[st.integers(1, 20)] * 2),
    st.sampled_from(DTYPES),
    st.sampled_from([0.25, 0.0, 0.5]),
    st.data(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_ties_and_what_is_no_number(decode, shape, dtype, shift, data):
    heatmaps = data.draw(arrays(dtype, shape, elements=st.sampled_from(ODD), fill=st.sampled_from(ODD)))
    same(decode, heatmaps, shift)
    same(decode, heatmaps, refinement="dark", atol=CLOSE_CELLS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [1.0, -1.0, -np.inf, np.nan, np.inf, 0.0])
def test_maps_of_one_value(decode, value, dtype):
    for shape in ((1, 1, 1, 1), (1, 2, 33, 31), (1, 1, 1, 200)):
        heatmaps = np.full(shape, value, dtype)
        points, scores = decode(heatmaps)
        np.testing.assert_array_equal(points, np.zeros((*shape[:2], 2)))
        np.testing.assert_array_equal(scores, np.full(shape[:2], value))


def test_the_first_of_two_peaks_wins_wherever_they_lie(decode):
    """In one thread's cells, in one warp, in two, and both on either side of what a block reads at once."""
    places = [0, 1, 31, 32, 33, 63, 64, 127, 128, 129, 160, 255, 256, 700, 2047, 2303]
    pairs = [(one, other) for one in places for other in places if one < other]
    heatmaps = np.zeros((1, len(pairs), 48 * 48), np.float32)
    for k, pair in enumerate(pairs):
        heatmaps[0, k, list(pair)] = 0.7
    points, scores = decode(heatmaps.reshape(1, -1, 48, 48), shift=0)
    y, x = np.divmod([first for first, _ in pairs], 48)
    np.testing.assert_array_equal(points[0], np.stack([x, y], axis=1))
    assert (scores == np.float32(0.7)).all()


def test_a_peak_among_nan(decode):
    """Only one cell of each map is a number, and it is the lowest there is."""
    places = np.arange(0, 400, 7)
    heatmaps = np.full((1, len(places), 400), np.nan, np.float32)
    heatmaps[0, np.arange(len(places)), places] = -np.inf
    points, scores = decode(heatmaps.reshape(1, -1, 20, 20))
    np.testing.assert_array_equal(points[0], np.stack([places % 20, places // 20], axis=1))
    assert (scores == -np.inf).all()


@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.0])
def test_any_value_anywhere_around_a_peak(decode, value):
    """In each cell of 17 x 17, so in all that the blur reads and in some that it does not."""
    heatmaps = np.repeat(drawn((1, 1, 17, 17), 0.02, seed=4), 289, axis=1)
    heatmaps.reshape(289, 289)[np.arange(289), np.arange(289)] = value
    heatmaps[..., 8, 8] = 2
    for refinement in ("quarter", "dark"):
        same(decode, heatmaps, refinement=refinement, atol=CLOSE_CELLS if refinement == "dark" else 0)


@pytest.mark.parametrize("refinement", ["quarter", "dark"])
@pytest.mark.parametrize("hw", [(1, 1), (1, 4096), (4096, 1), (4096, 4096)], ids=str)
def test_the_last_cell_of_any_map(decode, hw, refinement):
    heatmaps = np.zeros((1, 1, *hw), np.float16)
    heatmaps[..., -1, -1] = 2
    points, scores = decode(heatmaps, refinement=refinement)
    np.testing.assert_array_equal(points[0, 0], [hw[1] - 1, hw[0] - 1])
    assert scores[0, 0] == 2


@pytest.mark.parametrize("refinement", ["quarter", "dark"])
def test_every_cell_of_a_small_map(decode, refinement):
    """A peak in each cell, so in each corner, on each edge, and beside them; its neighbours differ."""
    heatmaps = np.random.default_rng(2).random((1, 7 * 8, 7, 8)).astype(np.float32)
    heatmaps.reshape(1, 56, 56)[0, np.arange(56), np.arange(56)] = 3
    same(decode, heatmaps, refinement=refinement, atol=CLOSE_CELLS if refinement == "dark" else 0)


@pytest.mark.parametrize("refinement", ["quarter", "dark"])
def test_points_lie_in_the_frame_of_each_person(decode, refinement):
    """Each with a turned crop of its own."""
    heatmaps = drawn((3, 14, 24, 20), 0.05, seed=3)
    boxes = np.array([[100.5, 50, 300, 400], [-20, -30, 40, 44], [1500, 900, 1900.25, 1080]])
    affines = np.stack([geometry.frame_from_input(box, (96, 80), turn) for box, turn in zip(boxes, (0, 33, -120))])
    points, scores = decode(heatmaps, frame_from_cells(affines, 4.0), refinement=refinement)
    located, expected_scores = reference(heatmaps, 4.0, refinement=refinement)
    expected = [geometry.transform(affine, one) for affine, one in zip(affines, located)]
    np.testing.assert_allclose(points, expected, rtol=0, atol=0.01 if refinement == "dark" else 2000 * FLOAT32)
    np.testing.assert_array_equal(scores, expected_scores)


def test_maps_beyond_four_gigabytes(launch):
    """The second person's only block, of maps for which the system gives memory only where they are touched."""
    keypoints = (1 << 31) // (64 * 64) + 5
    try:
        heatmaps = np.zeros((2, keypoints, 64, 64), np.float16)
    except MemoryError:
        pytest.skip("no 8 GB of address space")
    heatmaps[1, 0, 3, 2] = 1
    out = np.empty((2, keypoints, 3), np.float32)
    launch("decode", (1, 2), 128, heatmaps, 1, keypoints, 64, 64, np.repeat(CELLS, 2, axis=0), 0.25, 0, out)
    np.testing.assert_array_equal(out[1, 0], [2, 3, 1])
