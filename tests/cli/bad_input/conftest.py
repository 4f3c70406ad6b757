"""The program on input that lies, most of it within this process: starting it takes longer than a refusal."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hgedge.cli.main import main

HANGS_S = 120  # far beyond what any of these takes


@pytest.fixture
def places(astronaut, bundle, tiny_checkpoint):
    """What words in a table's commands stand for."""
    return {"ASTRONAUT": astronaut, "BUNDLE": bundle, "TINY": tiny_checkpoint}


@pytest.fixture
def program(tmp_path, monkeypatch, capfd, places):
    """program("build", "TINY"): the program's end, run in this process in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = [str(places.get(word, word)) for word in arguments]
        capfd.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = main(words)
        finally:
            signal.signal(signal.SIGTERM, handler)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


@pytest.fixture
def process(hgedge, places):
    """The same as `program`, in a process of its own that must end by itself."""
    return lambda *arguments, **options: hgedge(
        *(places.get(word, word) for word in arguments), timeout=HANGS_S, **options
    )


@pytest.fixture
def refused(program, tmp_path):
    """refused(arguments, code, messages...): it ends in one line that says why, and nothing is changed."""

    def check(arguments, code: int, *messages: str, run=program, warnings: int = 0) -> None:
        before = tree(tmp_path)
        done = run(*arguments, "-q")
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        *said, last = done.stderr.splitlines()
        assert last.startswith("error: ") and "Traceback" not in done.stderr and "internal error" not in last
        assert len(said) == warnings and all(line.startswith("warning: ") for line in said), done.stderr
        for message in messages:
            assert message in last
        assert tree(tmp_path) == before

    return check


@pytest.fixture
def keypoints(program, tmp_path):
    """keypoints(source): (frames, K, 2) of the poses that the program finds, and its stderr."""

    def run(source: str | Path, *more: str) -> tuple[np.ndarray, str]:
        command = ("run", "--no-window", "--engine", "BUNDLE", "--source", source, "--jsonl", "poses.jsonl", "-q")
        done = program(*command, *more)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        lines = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()]
        (tmp_path / "poses.jsonl").unlink()
        return np.array([[point[:2] for point in line["people"][0]["keypoints"]] for line in lines]), done.stderr

    return run


def tree(folder: Path) -> dict[str, str]:
    """Everything under a folder, files with their hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }
