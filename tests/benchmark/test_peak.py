"""The peak of convolutions: what is computed, in which arithmetic; how fast is the machine's affair."""

import math

import numpy as np
import pytest

from hgedge.benchmark import peak
from hgedge.benchmark.peak import convolution_peak
from hgedge.errors import BackendUnavailable, ConfigError

ov = pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

SMALL = ((16, 8), (32, 16))


def or_skip(make):
    try:
        return make()
    except BackendUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_best_shape_is_told(precision):
    found = or_skip(lambda: convolution_peak(precision, runs=3, shapes=SMALL))
    assert found.precision == precision and (found.channels, found.size) in SMALL
    assert math.isfinite(found.gmac_per_s)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_stack_multiplies_as_often_as_is_counted(precision):
    channels, size, layers = 16, 8, 3
    model = peak._stack(precision, channels, size, layers)
    convolutions = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    macs = 0
    for node in convolutions:
        _, _, *kernel = node.input_value(1).shape
        _, out, height, width = node.output(0).shape
        assert (kernel, out, height, width) == ([3, 3], channels, size, size)
        macs += out * node.input_value(0).shape[1] * math.prod(kernel) * height * width
    assert len(convolutions) == layers and macs == layers * channels**2 * 9 * size**2


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_values_neither_vanish_nor_overflow(precision):
    """Numbers that are subnormal, infinite or all the same could be multiplied faster or slower than real ones."""
    request = or_skip(lambda: peak._compiled(precision, 32, 16, peak.HIGH))
    request.infer()
    values = request.get_output_tensor().data
    assert np.isfinite(values).all() and 1e-3 < values.std() < 1e3


def test_a_machine_without_the_precision_is_told(monkeypatch):
    monkeypatch.setitem(peak.HINTS, "bf16", "f32")  # as a CPU without BF16 takes the hint
    with pytest.raises(BackendUnavailable, match="OpenVINO does not compute in bf16 on this machine, but in f32"):
        convolution_peak("bf16", runs=1, shapes=SMALL)


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match="the peak is of one of fp32, bf16, int8, but got 'fp16'"):
        convolution_peak("fp16")
