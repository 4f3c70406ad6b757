"""The doctor as users meet it, with libraries that are really missing or broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hgedge.cli.doctor import show
from hgedge.doctor import Check
from hgedge.doctor.check import STATES

NAMES = ("cpu", "memory", "disk", "nvidia", "tensorrt", "tensorrt-rtx", "pycuda", "openvino", "onnxruntime", "torch")
NAMES = (*NAMES, "onnx", "onnxsim", "opencv", "ffmpeg", "gstreamer", "cameras", "display", "jetpack", "auto")
NVDLA = "raise ImportError('libnvdla_compiler.so: cannot open shared object file: No such file or directory')"
BLOCKED = """
import sys
for name in ("torch", "onnx", "openvino", "onnxruntime"):
    sys.modules[name] = None
from hgedge.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def examined(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The checks by name, of a document that keeps its promises."""
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (0 if document["ok"] else 1)
    checks = {check["name"]: check for check in document["checks"]}
    assert set(NAMES) <= set(checks) and {check["state"] for check in checks.values()} <= set(STATES)
    assert all(check["fix"] for check in checks.values() if check["state"] in ("missing", "broken"))
    return checks


def test_a_machine_with_all_that_is_needed(hgedge) -> None:
    for library in ("openvino", "onnx", "cv2"):
        pytest.importorskip(library)
    checks = examined(hgedge("doctor", "--json"))
    ours = subprocess.run(
        [sys.executable, "-c", "import openvino; print(openvino.__version__)"], capture_output=True, text=True
    )
    assert checks["openvino"]["state"] == "ok"
    assert checks["openvino"]["found"].startswith(ours.stdout.partition("-")[0].strip())
    assert checks["run"]["state"] == checks["build"]["state"] == "ok"


def with_stubs(hgedge, environment: dict[str, str], folder: Path, stubs: dict[str, str]) -> dict[str, dict[str, str]]:
    """The checks where modules that come first on the path are as given."""
    for name, text in stubs.items():
        (folder / f"{name}.py").write_text(text)
    path = os.pathsep.join([str(folder), environment["PYTHONPATH"]])
    return examined(hgedge("doctor", "--json", env={**environment, "PYTHONPATH": path}))


def test_broken_libraries_are_told_with_their_fix(hgedge, program_environment, tmp_path: Path) -> None:
    stubs = {
        "tensorrt": NVDLA,
        "torch": "raise ImportError('libcusparseLt.so.0: cannot open shared object file: No such file or directory')",
        "openvino": "import ctypes; ctypes.string_at(0)",
        "onnxruntime": "__version__ = '1.12.0'",
        "cv2": "__version__ = '5.0.0'\ndef getBuildInformation(): return 'GUI: NONE'",
    }
    checks = with_stubs(hgedge, program_environment, tmp_path, stubs)
    assert {checks[name]["state"] for name in ("openvino", "onnxruntime", "opencv", "torch")} == {"broken"}
    assert "SIGSEGV" in checks["openvino"]["found"]
    assert checks["onnxruntime"]["fix"] == "pip install 'onnxruntime>=1.18'"
    assert checks["opencv"]["fix"] == "pip install 'opencv-python>=4.8,<5'"
    assert "libnvdla_compiler.so" in checks["tensorrt"]["found"]
    assert checks["tensorrt"]["state"] == "broken" and checks["tensorrt"]["fix"]
    assert checks["run"]["state"] == "missing"


def blocked(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where Python holds libraries for not importable."""
    command = [sys.executable, "-c", BLOCKED, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_library_that_cannot_be_imported_here(tmp_path: Path, program_environment) -> None:
    checks = examined(blocked(tmp_path, program_environment, "doctor", "--json"))
    assert (checks["openvino"]["state"], checks["openvino"]["fix"]) == ("missing", "pip install 'hgedge[openvino]'")
    assert (checks["auto"]["state"], checks["auto"]["fix"]) == ("missing", "pip install 'hgedge[openvino]'")


def test_what_people_see_fits_and_keeps_commands_whole(capsys) -> None:
    fix = "pip uninstall -y opencv-python opencv-contrib-python-headless && pip install 'opencv-python>=4.8,<5'"
    words = "a state that takes more words than one line of eighty columns has room for, by far"
    groups = {
        "machine": [Check("cpu", "ok", words), Check("jetpack", "absent", "no Jetson")],
        "together": [Check("opencv", "broken", "two", fix), Check("run", "missing", "none", "pip install x")],
    }
    show(Console(width=80), groups, ok=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == [f"{' ' * 25}-> {fix}"]
    assert lines[1].startswith("  ok       cpu           a state that takes")
    assert lines[2].startswith(" " * 25) and " ".join((lines[1][25:] + " " + lines[2]).split()) == words
    assert lines[3] == "  -        jetpack       no Jetson"
    assert lines[-1] == "broken: opencv; cannot run here"


def test_the_table_is_plain_where_nobody_looks(tmp_path: Path, program_environment) -> None:
    done = blocked(tmp_path, program_environment, "doctor")
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("machine\n  ok       python ")
    assert (done.stdout.splitlines()[-1], done.returncode) == ("cannot run or build here", 1)
    assert "\n  missing  openvino      not installed" in done.stdout
    assert f"\n{' ' * 25}-> pip install 'hgedge[openvino]'\n" in done.stdout
