"""Each way in which TensorRT is known to be missing, from file trees and the errors that Python gives."""

from __future__ import annotations

import subprocess

import pytest

from hgedge.doctor.attempts import Attempt
from hgedge.doctor.tensorrt import STUB_FIX, tensorrt, tensorrt_rtx

NOT_THERE = Attempt(error="No module named 'tensorrt'", missing="tensorrt")
OPEN = "cannot open shared object file: No such file or directory"


def ended(make_machine, files=(), tried=NOT_THERE, more=(), **fields) -> tuple[str, str, str | None]:
    check = tensorrt(make_machine(dict(files), {"tensorrt": tried, **dict(more)}, **fields))
    return check.state, check.found, check.fix


def test_a_pc_without_gpu_needs_none(make_machine) -> None:
    assert ended(make_machine) == ("absent", "needs an NVIDIA GPU", None)


def test_a_pc_with_a_card_lacks_it(make_machine, card) -> None:
    assert ended(make_machine, card) == ("missing", "not installed", "pip install 'hgedge[tensorrt]'")
    assert ended(make_machine, card, architecture="aarch64")[2] == "pip install 'tensorrt>=10.3'"


def test_other_nvidia_devices_are_no_gpu(make_machine, card) -> None:
    audio = {path: text.replace("0x030000", "0x040300") for path, text in card.items()}
    assert ended(make_machine, audio)[0] == "absent"


def test_a_venv_that_hides_jetpacks(make_machine, orin, tmp_path) -> None:
    files = {**orin, "usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""}
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    state, found, fix = ended(make_machine, files, python=(3, 10), prefix=tmp_path)
    assert state == "missing" and "virtual environment" in found
    subprocess.run(fix, shell=True, check=True)  # the command does what it is for
    assert (tmp_path / "pyvenv.cfg").read_text() == "home = /usr/bin\ninclude-system-site-packages = true\n"


def test_a_python_that_jetpacks_is_not_for(make_machine, orin) -> None:
    files = {**orin, "usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""}
    state, found, fix = ended(make_machine, files, python=(3, 12))
    assert (state, fix) == ("missing", "python3.10 -m venv --system-site-packages .venv")
    assert found == "JetPack's is for Python 3.10, this is Python 3.12"


def test_a_jetson_where_it_is_not_installed(make_machine, orin) -> None:
    assert ended(make_machine, orin)[2] == "sudo apt install nvidia-jetpack"
    library = {"usr/lib/aarch64-linux-gnu/libnvinfer.so.10": ""}
    assert ended(make_machine, {**orin, **library})[2] == "sudo apt install python3-libnvinfer"


def test_the_dla_compiler(make_machine, orin) -> None:
    tried = Attempt(error=f"libnvdla_compiler.so: {OPEN}")
    state, found, fix = ended(make_machine, orin, tried)
    assert (state, fix) == ("broken", "sudo apt install nvidia-l4t-dla-compiler")
    assert found.startswith("libnvdla_compiler.so")
    state, found, fix = ended(make_machine, {**orin, ".dockerenv": ""}, tried)
    assert (state, fix) == ("broken", "use an image made for L4T 36.4.3, started with --runtime nvidia")


def test_a_missing_libnvinfer(make_machine, orin, card) -> None:
    tried = Attempt(error=f"libnvinfer_plugin.so.10: {OPEN}")
    assert ended(make_machine, card, tried) == (
        "broken",
        "libnvinfer_plugin.so.10 is missing",
        "pip install --force-reinstall 'hgedge[tensorrt]'",
    )
    assert ended(make_machine, orin, tried)[2] == "sudo apt install --reinstall libnvinfer-plugin10"


@pytest.mark.parametrize(
    "tried",
    [
        Attempt("0.0.1", {"builder": False}),
        Attempt(error="No module named 'tensorrt_bindings'", missing="tensorrt_bindings"),
    ],
)
def test_the_stub(make_machine, card, tried: Attempt) -> None:
    state, found, fix = ended(make_machine, card, tried)
    assert (state, fix) == ("broken", STUB_FIX) and "without the library" in found


@pytest.mark.parametrize(
    ("capability", "state"), [("sm_87", "ok"), ("sm_75", "ok"), ("sm_120", "ok"), ("sm_61", "absent")]
)
def test_which_gpus(make_machine, gpu, capability: str, state: str) -> None:
    tried = Attempt("10.3.0", {"builder": True})
    assert ended(make_machine, tried=tried, more=gpu(capability))[0] == state


def test_versions(make_machine, orin, gpu) -> None:
    old = Attempt("8.6.2", {"builder": True})
    assert ended(make_machine, tried=old, more=gpu("sm_86"))[::2] == ("broken", "pip install 'tensorrt>=10.3'")
    assert ended(make_machine, orin, old, gpu("sm_87"))[0] == "ok"
    assert ended(make_machine, orin, Attempt("8.5.2", {"builder": True}), gpu("sm_87"))[0] == "broken"
    assert ended(make_machine, tried=Attempt("11.4.1", {"builder": True}))[0] == "absent"


RTX = Attempt("1.7.1", {"builder": True, "capabilities": [75, 86, 120]})


@pytest.mark.parametrize(
    ("capability", "state", "words"),
    [("sm_86", "ok", "for this GPU"), ("sm_90", "absent", "not for this GPU (9.0)"), (None, "ok", "no GPU to run on")],
)
def test_rtx_and_gpus(make_machine, gpu, capability: str | None, state: str, words: str) -> None:
    driver = gpu(capability) if capability else {}
    check = tensorrt_rtx(make_machine({}, {"tensorrt_rtx_bindings": RTX, **driver}))
    assert check.state == state and words in check.found and "7.5, 8.6, 12.0" in check.found


def test_rtx_that_is_not_there_or_broken(make_machine, orin, card) -> None:
    assert tensorrt_rtx(make_machine()).state == "absent"
    assert tensorrt_rtx(make_machine(orin)).found == "not made for a Jetson"
    broken = {"tensorrt_rtx_bindings": Attempt(error=f"libtensorrt_rtx.so.1: {OPEN}")}
    assert tensorrt_rtx(make_machine({}, broken)).state == "broken"
