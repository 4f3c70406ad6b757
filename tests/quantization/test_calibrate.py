from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hgedge.errors import BackendUnavailable, ConfigError, QuantizationError, ShapeError
from hgedge.quantization.calibrate import collect_ranges, tensors_to_measure
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.placement import quantized_tensors

# ONNX Runtime computes the same graph with other fusions and layouts: the order of float32 additions differs.
SAME_SUM = {"rtol": 1e-4, "atol": 1e-4}


def extremes(run, model, pictures, names):
    """(pictures, tensors, 2): computed one picture at a time in the graph as it stands, reduced by NumPy."""
    made = (run(model, picture[None], *names) for picture in pictures)
    return np.array([[(tensor.min(), tensor.max()) for tensor in tensors] for tensors in made])


@pytest.mark.parametrize("method", ["mean-minmax", "minmax"])
def test_ranges_of_photographs_equal_numpy(hourglass, photographs, run, method):
    pictures = photographs[:6]
    names = ("image", "stem.conv.relu", "hgs.0.up.0.add", "hgs.1.up.0.bn1.relu")
    per_picture = extremes(run, hourglass, pictures, names)
    ranges = collect_ranges(hourglass, iter(pictures), method=method)
    low, high = per_picture[..., 0], per_picture[..., 1]
    expected = (low.mean(0), high.mean(0)) if method == "mean-minmax" else (low.min(0), high.max(0))
    np.testing.assert_allclose([ranges[name] for name in names], np.transpose(expected), **SAME_SUM)


def test_methods_differ_as_computed(hourglass, photographs):
    mean = collect_ranges(hourglass, photographs)
    wide = collect_ranges(hourglass, photographs, method="minmax")
    assert all(wide[name][0] <= mean[name][0] and mean[name][1] <= wide[name][1] for name in mean)
    assert sum(wide[name] != mean[name] for name in mean) > 0.9 * len(mean)
    alone = [collect_ranges(hourglass, [picture], method="minmax") for picture in photographs[:3]]
    of_three = collect_ranges(hourglass, photographs[:3])
    for name, limits in of_three.items():
        np.testing.assert_allclose(limits, np.mean([ranges[name] for ranges in alone], axis=0), rtol=1e-6, atol=1e-7)


def test_a_table_serves_every_placement(small, noise):
    ranges = collect_ranges(small, noise)
    assert set(ranges) == set(quantized_tensors(small, "conv")) | set(quantized_tensors(small, "stream"))
    assert tuple(ranges) == tensors_to_measure(small)
    assert all(value == float(np.float32(value)) for limits in ranges.values() for value in limits)


def test_a_table_of_all_stacks_serves_fewer(hourglass, export_hourglass, noise):
    first = export_hourglass(1)
    ranges = collect_ranges(hourglass, noise)
    alone = collect_ranges(first, noise)
    assert set(alone) < set(ranges)
    np.testing.assert_allclose([alone[name] for name in alone], [ranges[name] for name in alone], **SAME_SUM)
    quantize(first, ranges, "stream")


def test_progress_counts_pictures_and_the_model_is_left_alone(small, noise):
    before, seen = small.SerializeToString(), []
    collect_ranges(small, noise, progress=seen.append)
    assert seen == [1, 2, 3, 4]
    assert small.SerializeToString() == before


def test_memory_does_not_grow_with_pictures(small, noise):
    def peak(count: int) -> int:
        tracemalloc.start()
        collect_ranges(small, (noise[0].copy() for _ in range(count)))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(2)
    assert peak(200) < peak(10) + 4 * noise[0].nbytes  # 190 more pictures hold 190 times that


def broken(model: onnx.ModelProto, name: str, value: float) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constant = next(item for item in copy.graph.initializer if item.name == name)
    array = numpy_helper.to_array(constant).copy()
    array.flat[-1] = value
    constant.CopyFrom(numpy_helper.from_array(array, name))
    return copy


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_named(small, noise, value):
    model = broken(small, "r1.conv1.bias", value)
    with pytest.raises(QuantizationError, match=r"tensor 'r1\.conv1\.relu' holds NaN or infinite values.* picture 0"):
        collect_ranges(model, noise)


def test_a_picture_that_is_not_finite_is_named(small, noise):
    bad = noise[1].copy()
    bad[1, 5, 7] = np.nan
    with pytest.raises(
        QuantizationError, match=r"tensor 'image' holds NaN or infinite values for calibration picture 1"
    ):
        collect_ranges(small, [noise[0], bad])


def test_wrong_pictures_are_refused(small, noise):
    with pytest.raises(QuantizationError, match=r"calibration needs pictures, but got none"):
        collect_ranges(small, iter(()))
    for bad in (noise[0][None], noise[0][:, :32], noise[0].astype(np.float64)):
        with pytest.raises(ShapeError, match=r"must be \(C, H, W\) = \(3, 64, 64\) float32, but picture 0 is"):
            collect_ranges(small, [bad])
    with pytest.raises(ConfigError, match=r"no calibration method is called 'kl'; choose one of: mean-minmax, minmax"):
        collect_ranges(small, noise, method="kl")


def test_a_quantised_graph_is_refused(small, noise):
    quantised = quantize(small, collect_ranges(small, noise), "conv")
    with pytest.raises(QuantizationError, match=r"starts from a float graph, but this one holds DequantizeLinear"):
        collect_ranges(quantised, noise)


def test_without_onnxruntime_it_says_how_to_get_it(small, noise, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'hgedge\[onnxruntime\]'"):
        collect_ranges(small, noise)


@pytest.mark.parametrize("method", ["percentile-99.9", "mse", "entropy"])
def test_methods_of_histograms_see_what_numpy_sees(hourglass, photographs, run, method):
    from hgedge.quantization.clip import kept_bins
    from hgedge.quantization.histogram import Histograms

    names = ("image", "stem.conv.relu", "hgs.0.up.0.add", "hgs.1.up.0.bn1.relu")
    made = [run(hourglass, picture[None], *names) for picture in photographs[:4]]
    ranges = collect_ranges(hourglass, photographs[:4], method=method)
    for index, name in enumerate(names):
        values = np.concatenate([tensors[index].reshape(-1) for tensors in made])
        histograms = Histograms(1)
        histograms.add(0, values, float(np.abs(values).max()))
        limit = kept_bins(method, histograms.counts[0]) * histograms.width(0)
        expected = max(-limit, values.min()), min(limit, values.max())
        # A value at the edge of a bin may fall on its other side where additions are done in another order.
        np.testing.assert_allclose(ranges[name], expected, rtol=1e-2, atol=1e-4)


def test_tensors_that_do_not_fit_together_come_in_parts(hourglass, photographs, monkeypatch):
    whole = collect_ranges(hourglass, photographs[:3], method="mse")
    monkeypatch.setattr("hgedge.quantization.calibrate.PART_BYTES", 300_000)
    in_parts = collect_ranges(hourglass, photographs[:3], method="mse")
    assert list(whole) == list(in_parts)
    np.testing.assert_allclose(list(in_parts.values()), list(whole.values()), rtol=1e-2, atol=1e-4)


def test_parts():
    from hgedge.quantization.calibrate import PART_BYTES, _parts

    big, half = PART_BYTES + 1, PART_BYTES // 2
    assert _parts([1, big, half, half, 1, half, 3]) == [[0], [1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_histograms_name_a_tensor_that_is_not_finite(small, noise, value):
    model = broken(small, "r1.conv1.bias", value)
    with pytest.raises(QuantizationError, match=r"tensor 'r1\.conv1\.relu' holds NaN or infinite values.* picture 0"):
        collect_ranges(model, noise, method="entropy")


def test_statistics_are_kept_and_gone_on_with(small, noise):
    from hgedge.quantization.calibrate import Observer

    for method in ("mean-minmax", "mse"):
        whole, first, second = (Observer(small, method) for _ in range(3))
        for picture in noise:
            whole.add(picture)
        for picture in noise[:2]:
            first.add(picture)
        second.statistics.restore(first.statistics.arrays())
        for picture in noise[2:]:
            second.add(picture)
        for name, array in whole.statistics.arrays().items():
            np.testing.assert_array_equal(second.statistics.arrays()[name], array)
        assert second.statistics.ranges(method) == whole.statistics.ranges(method)
        with pytest.raises((ValueError, KeyError)):
            second.statistics.restore({**first.statistics.arrays(), "total": np.zeros((2, 3))})
