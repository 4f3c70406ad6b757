"""A signal at each single thing that replacing a bundle does to the disk: the old or the new one is there."""

import json
import logging
import signal
import subprocess
import sys
from collections import Counter

import pytest

log = logging.getLogger(__name__)

AT_EVERY_STEP = """
import json, os, shutil, signal, sys
from pathlib import Path
from hgedge.bundle import open_bundle, seal
from hgedge.staging import staged
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import EngineMismatch
from hgedge.spec import DecodeSpec, InputSpec, Manifest, ModelInfo

EVENTS = ("open", "os.", "shutil.", "tempfile.", "fcntl.", "glob.")
output, force, number = Path(sys.argv[1]), sys.argv[2] == "force", int(sys.argv[3])
signal.signal(signal.SIGINT, signal.default_int_handler)

def make(target, digest, force=False):
    with staged(target, force) as folder:
        (folder / "model.onnx").write_text(digest)
        seal(folder, Manifest("0.1.0", False, ModelInfo("m", "ab", 2, 10, 0.5), "int8", None, None,
            InputSpec((64, 64)), LSP14, DecodeSpec(), digest, 1, 0))

def make_with_signal(target, step):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event.startswith(EVENTS):
            count += 1
            if count == step + 1:
                signal.raise_signal(number)
    sys.addaudithook(hook)
    make(target, "new", force)

def digest_of(folder):
    try:
        return open_bundle(folder).digest
    except EngineMismatch:
        return "damaged" if (folder / "manifest.json").exists() and folder.name == "name" else None

found, code, step = [], None, 0
while code != 0:
    target = output / str(step) / "name"
    if force:
        make(target, "old")
    child = os.fork()
    if not child:
        try:
            make_with_signal(target, step)
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    hidden = [path for path in target.parent.iterdir() if path != target] if target.parent.exists() else []
    aside = [digest_of(folder) for path in hidden for folder in (path, path / "0")]
    found.append({"code": code, "there": digest_of(target), "aside": aside, "hidden": len(hidden)})
    step += 1
print(json.dumps(found))
"""


@pytest.fixture
def at_every_step(tmp_path, program_environment):
    """Make a bundle again and again in processes of their own, each with a signal one step later than the last."""

    def run(force, number):
        command = [sys.executable, "-c", AT_EVERY_STEP, str(tmp_path), force, str(int(number))]
        ran = subprocess.run(command, capture_output=True, text=True, env=program_environment)
        assert ran.returncode == 0, ran.stderr
        *stopped, undisturbed = json.loads(ran.stdout)
        assert undisturbed == {"code": 0, "there": "new", "aside": [], "hidden": 0}
        log.info("%s %s: %s", force, number, Counter(end["there"] for end in stopped))
        assert len(stopped) > 10
        return stopped

    return run


def test_killed_while_it_is_made(at_every_step):
    stopped = at_every_step("new", signal.SIGKILL)
    assert {end["code"] for end in stopped} == {-signal.SIGKILL}
    assert {end["there"] for end in stopped} == {None, "new"}


def test_killed_while_it_is_replaced(at_every_step):
    stopped = at_every_step("force", signal.SIGKILL)
    assert {end["code"] for end in stopped} == {-signal.SIGKILL}
    assert {end["there"] for end in stopped} == {"old", "new", None}
    (between,) = [end["aside"] for end in stopped if end["there"] is None]  # at one step alone, with both beside it
    assert {"old", "new"} <= set(between)


def test_interrupted_while_it_is_made(at_every_step):
    stopped = at_every_step("new", signal.SIGINT)
    assert {(end["code"], end["hidden"]) for end in stopped} == {(130, 0)}
    assert {end["there"] for end in stopped} <= {None, "new"}


def test_interrupted_while_it_is_replaced(at_every_step):
    stopped = at_every_step("force", signal.SIGINT)
    assert {(end["code"], end["hidden"]) for end in stopped} == {(130, 0)}
    assert {end["there"] for end in stopped} == {"old", "new"}
