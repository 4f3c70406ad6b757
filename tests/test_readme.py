"""What the README tells people to type works: its `$ hgedge` lines are run, in order, in one temporary folder.

    ```console
    $ hgedge build --precision int8
    ```

A block under `<!-- not run: REASON -->` is left out. `hgedge/` stands in the folder, as in a checkout.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(?P<note><!-- not run: .+? -->\s*)?^```console\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)


def commands_of(page: str) -> list[str]:
    """The `$ hgedge` lines of a page's console blocks that are to be run; a backslash joins lines."""
    blocks = [match["lines"] for match in BLOCK.finditer(page) if match["note"] is None]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ hgedge")]


def test_commands_are_found() -> None:
    page = (
        "```console\n$ make demo\n$ hgedge build \\\n    --force\nbundle: x\n```\n"
        "<!-- not run: needs a camera -->\n```console\n$ hgedge run --camera 0\n```\n"
        "```python\n$ hgedge no\n```\n```console\n$ hgedge inspect x | head -3\n```\n"
    )
    assert commands_of(page) == ["hgedge build      --force", "hgedge inspect x | head -3"]


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
