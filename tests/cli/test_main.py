"""The program as users meet it: help, wrong use, exit codes, one line an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hgedge as package
from hgedge.cli import main

COMMANDS = (
    "build", "run", "evaluate", "bench", "sensitivity", "sweep",
    "export", "inspect", "verify", "train", "doctor", "models",
)  # fmt: skip


def only_error(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr that a failed command ends with."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_the_shared_options(hgedge, command: str) -> None:
    done = hgedge(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"Example: hgedge {command} " in done.stdout
    for option in ("--json", "-v, --verbose", "-q, --quiet", "--debug", "--help"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_every_command(hgedge, arguments: tuple[str, ...]) -> None:
    done = hgedge(*arguments)
    assert done.returncode == 0 and done.stderr == ""
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


def test_the_table_of_commands_is_what_is_tested_here() -> None:
    assert tuple(function.__name__ for function in main.COMMANDS) == COMMANDS


def test_version(hgedge) -> None:
    done = hgedge("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hgedge {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--precison", "int8"), "No such option: --precison"),
        (("biuld",), "No such command 'biuld'"),
        (("export",), "Missing option '-o' / '--output'; see: hgedge export --help"),
        (("run", "--source", "x", "--limit-frames", "0"), "Invalid value for '--limit-frames'"),
        (("run",), "give one of --camera N and --source PATH_OR_URL"),
        (("run", "--source", "x", "--camera", "0"), "give one of --camera N and --source PATH_OR_URL"),
        (("run", "--source", "x", "--people", "cats"), "people are found by whole, hog, onnx:PATH or boxes:FILE"),
        (("run", "--source", "x", "--jsonl", "-", "--json"), "--json and --jsonl - both write to stdout"),
        (("build", "--batch", "1,two"), "--batch must be sizes with commas between, such as 1,2,4, but got '1,two'"),
        (("build", "--input", "256"), "--input must be HEIGHTxWIDTH in pixels, such as 256x192, but got '256'"),
        (("build", "--precision", "int4"), "precision must be one of fp32, fp16, bf16, int8, but got 'int4'"),
        (("inspect", "nowhere"), "nowhere does not exist; make one with: hgedge build"),
        (("train", "nowhere.toml"), "nowhere.toml cannot be read as TOML"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(hgedge, tmp_path: Path, arguments, message: str) -> None:
    assert message in only_error(hgedge(*arguments), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_line_and_leaves_nothing(hgedge, tmp_path: Path) -> None:
    message = only_error(hgedge("export", "nowhere.pt", "-o", "out.onnx", "--json"), 2)
    assert "nowhere.pt" in message
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(hgedge) -> None:
    done = hgedge("inspect", "nowhere", "--debug")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: nowhere does not exist")


def test_a_missing_camera_is_exit_code_3(hgedge) -> None:
    pytest.importorskip("cv2")
    assert "camera 987" in only_error(hgedge("run", "--camera", "987"), 3)


def test_a_missing_library_is_exit_code_3_and_tells_the_extra(hgedge, tmp_path: Path, program_environment) -> None:
    """An empty place in `sys.modules` is how Python itself marks a module that cannot be imported."""
    code = "import sys; sys.modules['torch'] = None; from hgedge.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "export", "-o", "x.onnx"]
    done = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, text=True)
    assert (
        only_error(done, 3) == "this needs torch, which is not installed; install it with: pip install 'hgedge[export]'"
    )


def test_a_fault_of_our_own_says_so(tmp_path: Path, program_environment) -> None:
    code = (
        "import sys, hgedge.bundle\nfrom hgedge.cli.main import main\n"
        "def broken(folder): raise ZeroDivisionError('one\\ntwo')\n"
        "hgedge.bundle.inspect = broken\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "inspect", "x"]
    done = subprocess.run(command, cwd=tmp_path, env=program_environment, capture_output=True, text=True)
    expected = "internal error: ZeroDivisionError: one two; run it again with --debug for the traceback"
    assert only_error(done, 70) == expected


def test_a_reader_that_goes_away_is_no_error(program_environment) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "hgedge", "--help"]
    done = subprocess.run(command, env=program_environment, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
