"""What results say of the machine that they come from."""

from __future__ import annotations

import json
import os
import re

import pytest

from hgedge.backends.tensorrt.gpu import gpu
from hgedge.benchmark.environment import SMI_FIELDS, environment, gpu_now, machine_name, told_by_smi
from hgedge.errors import BackendUnavailable

H200 = "580.159.03, 143771, 1980, 1980, 3201, 3201, 700.00, 118.34, 34, P0\n"
ORIN = "540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [Not Supported], [N/A], [N/A]\n"


def test_what_nvidia_smi_says() -> None:
    told = told_by_smi(H200)
    assert tuple(told) == tuple(SMI_FIELDS.values())
    assert told["driver"] == "580.159.03" and told["pstate"] == "P0"
    assert (told["memory_mib"], told["sm_clock_mhz"], told["power_limit_w"], told["temperature_c"]) == (
        143771,
        1980,
        700,
        34,
    )


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    assert told_by_smi(ORIN) == {"driver": "540.4.0"}


def test_results_name_the_machine() -> None:
    told = json.loads(json.dumps(environment()))
    assert told["cores"] == len(os.sched_getaffinity(0)) and "numpy" in told["libraries"]
    assert re.fullmatch(rf"[a-z0-9-]+-{told['cores']}core", machine_name())
    try:
        name = gpu().name
    except BackendUnavailable:
        assert "gpu" not in told
        with pytest.raises(BackendUnavailable, match="no NVIDIA GPU"):
            gpu_now()
    else:
        assert told["gpu"]["name"] == name
        assert machine_name().startswith(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
