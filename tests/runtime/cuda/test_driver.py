"""The simulated CUDA driver, through the real pycuda; the checks themselves lie in driver/checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.cuda.driver.build import build_library, environment
from tests.runtime.cuda.driver.checks.every import CHECKS

KERNELS = Path(__file__).with_name("driver") / "checks" / "kernels.cc"


@pytest.fixture(scope="module")
def outcomes(root, simulated_driver, tmp_path_factory) -> dict[str, str]:
    """What went wrong with each check, run in one process."""
    kernels = build_library([KERNELS], tmp_path_factory.mktemp("kernels") / "kernels.so")
    variables = environment(simulated_driver, kernels)
    command = [sys.executable, "-W", "error", "-m", "tests.runtime.cuda.driver.checks"]
    done = subprocess.run(command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CHECKS)
def test_simulated_driver(outcomes, name):
    assert outcomes[name] == ""
