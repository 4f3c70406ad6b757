import numpy as np
import pytest

from hgedge.evaluation.parity import clear_joints, nudged, relative_rmse, share_within


def test_relative_rmse():
    two = np.array([3.0, 4.0])
    assert relative_rmse(two, two) == 0
    assert relative_rmse(1.1 * two, two) == pytest.approx(0.1)
    assert relative_rmse(np.zeros(2), two) == 1


def maps(*peaks, height=20, width=20):
    """(1, 1, h, w) with values at places."""
    heatmaps = np.zeros((1, 1, height, width), np.float32)
    for x, y, value in peaks:
        heatmaps[0, 0, y, x] = value
    return heatmaps


@pytest.mark.parametrize(
    ("second", "clear"),
    [((15, 15, 0.94), True), ((15, 15, 0.96), False), ((8, 8, 0.99), True)],  # the last one belongs to the peak
)
def test_clear_joints(second, clear):
    assert clear_joints(maps((5, 5, 1.0), second)).tolist() == [[clear]]


def test_share_within():
    one = np.concatenate([maps((5, 5, 1.0)), maps((5, 5, 1.0)), maps((5, 5, 1.0))])
    two = np.concatenate([maps((5, 5, 1.0)), maps((6, 5, 1.0)), maps((9, 5, 1.0))])  # 0, 4 and 16 pixels
    everyone = np.ones((3, 1), bool)
    assert share_within(one, two, 4, everyone) == pytest.approx(2 / 3)
    assert share_within(one, two, 0.5, everyone) == pytest.approx(1 / 3)
    assert share_within(one, two, 0.5, np.array([[False], [False], [True]])) == 0


def test_nudged_is_small_and_seeded():
    images = np.zeros((1, 3, 100, 100), np.float32)
    one = nudged(images, 1)
    assert one.std() == pytest.approx(1e-3, rel=0.02) and one.dtype == np.float32
    np.testing.assert_array_equal(one, nudged(images, 1))
    assert (one != nudged(images, 2)).any()
