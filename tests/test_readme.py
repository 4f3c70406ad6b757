"""What the README tells people to type works: its `$ hgedge` lines are run, in order, in one temporary folder.

    ```console
    $ hgedge build --precision int8
    ```

A block under `<!-- not run: REASON -->` is left out. `hgedge/` stands in the folder, as in a checkout. All
commands, of the pages in `engines/` too, are at least ones that the program takes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from hgedge.cli.main import USAGE_ERRORS, app

README = Path(__file__).resolve().parents[1] / "README.md"
PAGES = (README, *sorted(README.parent.glob("engines/*.md")))
BLOCK = re.compile(r"(?P<note><!-- not run: .+? -->\s*)?^```console\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)


def commands_of(page: str, not_run: bool = False) -> list[str]:
    """The `$ hgedge` lines of a page's console blocks that are to be run, or of all; a backslash joins lines."""
    blocks = [match["lines"] for match in BLOCK.finditer(page) if not_run or match["note"] is None]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ hgedge")]


def test_commands_are_found() -> None:
    page = (
        "```console\n$ make demo\n$ hgedge build \\\n    --force\nbundle: x\n```\n"
        "<!-- not run: needs a camera -->\n```console\n$ hgedge run --camera 0\n```\n"
        "```python\n$ hgedge no\n```\n```console\n$ hgedge inspect x | head -3\n```\n"
    )
    assert commands_of(page) == ["hgedge build      --force", "hgedge inspect x | head -3"]
    assert "hgedge run --camera 0" in commands_of(page, not_run=True)


def parse(command: str) -> None:
    """Let the program read a command's arguments and options, and no more."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = list(lexer)[1:]
    words = words[: next((index for index, word in enumerate(words) if set(word) <= set("|>&;")), len(words))]
    group = typer.main.get_command(app)
    context = group.make_context("hgedge", list(words))
    name, subcommand, rest = group.resolve_command(context, words)
    subcommand.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_program_takes_every_command_of_a_page(page: Path) -> None:
    for command in commands_of(page.read_text(encoding="utf-8"), not_run=True):
        parse(command)


@pytest.mark.parametrize("command", ["hgedge bulid", "hgedge run --camear 0", "hgedge build a b", "hgedge inspect > a"])
def test_a_command_that_it_does_not_take(command: str) -> None:
    with pytest.raises(USAGE_ERRORS):
        parse(command)


def test_the_python_on_the_jetsons_page_is_python() -> None:
    page = (README.parent / "engines" / "JETSON.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    compile(block, "JETSON.md", "exec")
    imports = [line for line in block.splitlines() if line.startswith(("import ", "from "))]
    exec("\n".join(imports), {})


@pytest.mark.slow
def test_the_readmes_commands_work(tmp_path: Path, root: Path, program_environment: dict[str, str]) -> None:
    if not README.is_file():
        pytest.skip("no README.md yet")
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    commands = commands_of(README.read_text(encoding="utf-8"))
    assert commands, "README.md shows no `$ hgedge` line in a console block"
    programs, work = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    work.mkdir()
    (programs / "hgedge").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hgedge "$@"\n', encoding="utf-8")
    (programs / "hgedge").chmod(0o755)
    (work / "hgedge").symlink_to(root / "hgedge")
    environment = {**program_environment, "PATH": f"{programs}:{program_environment['PATH']}"}
    for command in commands:
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(shell, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
