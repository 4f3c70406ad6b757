"""The tests for CUDA devices, on the simulated driver: several schedules, on devices of several kinds."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache

import pytest

from tests.runtime.cuda.driver.build import environment
from tests.runtime.cuda.gpu.conftest import REAL_DEVICE

RUNS = {
    "lazy": {"SCHEDULE": "lazy", "CUDA": "12060", "CAPABILITY": "87"},
    "eager": {"SCHEDULE": "eager", "CUDA": "13000", "CAPABILITY": "110"},
    "random, integrated": {"SCHEDULE": "random:1", "CUDA": "11080", "CAPABILITY": "75", "INTEGRATED": "1"},
}
FOLDER = "tests/runtime/cuda/gpu"

Outcomes = dict[str, str]  # by test: "passed", or why it did not


@pytest.fixture(scope="module")
def outcomes(root, host_kernels, simulated_driver, tmp_path_factory) -> Callable[[str], Outcomes]:
    """outcomes(run): of all tests in the folder, run in a process of their own."""
    folder = tmp_path_factory.mktemp("simulated")

    @cache
    def of(name: str) -> Outcomes:
        settings = {f"HGEDGE_SIM_{key}": value for key, value in RUNS[name].items()}
        variables = {**os.environ, **environment(simulated_driver, host_kernels), **settings}
        report = folder / f"{name}.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "gpu",
            FOLDER,
            "--junitxml",
            str(report),
            "-p",
            "no:cacheprovider",
        ]
        done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return dict(_outcome(case) for case in ElementTree.parse(report).iter("testcase"))

    return of


def _outcome(case: ElementTree.Element) -> tuple[str, str]:
    result = next((child.get("message", child.tag) for child in case), "passed")
    return f"{case.get('classname')}::{case.get('name')}", result


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_the_tests_for_devices_pass(outcomes, name):
    assert "passed" in outcomes(name).values()


@pytest.mark.slow
def test_each_runs_somewhere_unless_it_needs_a_real_gpu(outcomes):
    ran = [outcomes(name) for name in RUNS]
    skipped = {test: ran[0][test] for test in ran[0] if not any(run[test] == "passed" for run in ran)}
    assert [f"{test}: {why}" for test, why in skipped.items() if not why.startswith(REAL_DEVICE)] == []
