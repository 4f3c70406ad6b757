"""With --json stdout carries one document, whatever libraries print; without -v they are not heard at all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NOISY = """
import logging, math, os, sys, warnings
from hgedge.cli.terminal import Terminal
settings = dict(word.split("=") for word in sys.argv[1:])
with Terminal(**{name: value == "True" for name, value in settings.items()}) as terminal:
    print("printed")
    os.write(1, b"written by C\\n")
    warnings.warn("warned")
    logging.getLogger("library").warning("logged")
    logging.getLogger("hgedge.room").info("told")
    logging.getLogger("hgedge.room").debug("whispered")
    logging.getLogger("hgedge.room").warning("careful")
    with terminal.progress() as progress:
        progress("work", 1, 2)
    terminal.result({"a": [1.5, math.nan, math.inf], "b": None}, lambda console: console.print("for people"))
print("afterwards")
"""


def noisy(environment: dict[str, str], **settings: bool) -> tuple[list[str], str]:
    arguments = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-c", NOISY, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


def test_json_is_alone_on_stdout(program_environment) -> None:
    out, errors = noisy(program_environment, json=True)
    assert json.loads(out[0]) == {"a": [1.5, None, None], "b": None}
    assert out[1:] == ["afterwards"]
    assert errors == "written by C\ntold\nwarning: careful\n"


def test_people_get_their_own_form(program_environment) -> None:
    assert noisy(program_environment)[0] == ["for people", "afterwards"]


def test_quiet_leaves_warnings(program_environment) -> None:
    out, errors = noisy(program_environment, quiet=True)
    assert out == ["for people", "afterwards"]
    assert errors == "written by C\nwarning: careful\n"


@pytest.mark.parametrize("json_too", [False, True])
def test_verbose_lets_libraries_speak_on_stderr(program_environment, json_too: bool) -> None:
    out, errors = noisy(program_environment, verbose=True, json=json_too)
    assert len(out) == 2
    for word in ("printed", "warned", "logged", "told", "whispered", "careful"):
        assert word in errors
