"""The TensorRT session, on the simulated CUDA driver and with a stand-in of NVIDIA's Python module.

It proves what hgedge asks of TensorRT, and when; what TensorRT answers, gpu/test_tensorrt_session.py asks on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.runtime.cuda.driver.build import environment


def test_on_the_simulated_driver(root, host_kernels, simulated_driver):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    variables = {**os.environ, **environment(simulated_driver, host_kernels)}
    file = "tests/backends/gpu/test_session_on_stand_in.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", file]
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout
