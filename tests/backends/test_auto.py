"""`--backend auto`: what is chosen, and what is said about it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hgedge.backends import auto
from hgedge.backends.tensorrt import build as tensorrt_build
from hgedge.errors import BackendUnavailable
from hgedge.spec import DeviceInfo

needs_no_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has an NVIDIA GPU")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO: pip install 'hgedge[openvino]'"
)
WITHOUT_OPENVINO = """
import sys
sys.modules["openvino"] = None
from hgedge.cli.main import main
sys.exit(main(["build", "--precision", "fp32"]))
"""
WHAT_IS_IMPORTED = """
import sys
from hgedge.backends import choose
print(choose("auto"), *sorted({"openvino", "tensorrt", "torch", "onnx"} & set(sys.modules)))
"""


def test_tensorrt_before_openvino_before_nothing():
    assert auto.best(None, None)[0] == auto.best(None, "it is not installed")[0] == "tensorrt"
    assert auto.best("this machine has no NVIDIA GPU", None) == ("openvino", "this machine has no NVIDIA GPU")
    with pytest.raises(BackendUnavailable) as caught:
        auto.best("there is no GPU", "there is no OpenVINO")
    for part in ("there is no GPU", "there is no OpenVINO", "'hgedge[openvino]'", "'hgedge[tensorrt]'"):
        assert part in str(caught.value)


@needs_no_gpu
@needs_openvino
def test_a_machine_without_a_gpu(hgedge):
    result = hgedge("build", "missing.pt")
    assert result.returncode == 2
    assert result.stderr.startswith("backend auto: openvino, as this machine has no NVIDIA GPU (libcuda.so.1: ")


@needs_no_gpu
def test_a_machine_without_anything(program_environment, tmp_path):
    command = [sys.executable, "-c", WITHOUT_OPENVINO]
    result = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, text=True)
    assert result.returncode == 3 and result.stdout == ""
    assert "as this machine has no NVIDIA GPU" in result.stderr and "as OpenVINO is not installed" in result.stderr
    assert "'hgedge[openvino]'" in result.stderr and "'hgedge[tensorrt]'" in result.stderr


@needs_no_gpu
@needs_openvino
def test_nothing_is_imported_to_choose(program_environment, tmp_path):
    command = [sys.executable, "-c", WHAT_IS_IMPORTED]
    result = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, text=True)
    assert result.stdout.split() == ["openvino"], result.stderr


@needs_openvino
def test_a_machine_with_a_gpu(monkeypatch):
    monkeypatch.setattr(tensorrt_build, "gpu", lambda: DeviceInfo("NVIDIA H200", "x86_64", ("sm_90",)))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    backend, why = auto.best_here()
    assert backend == "openvino" and why.startswith("this machine has no TensorRT (")
    library = ModuleType("tensorrt")
    library.__version__ = "10.3.0"
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    backend, why = auto.best_here()
    assert backend == "openvino" and ("pycuda" in why or "no NVIDIA driver" in why)  # what else is missing to run it
