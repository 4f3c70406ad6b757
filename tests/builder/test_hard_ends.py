"""A build that is killed, interrupted, raced or out of space leaves a whole bundle or none: as real processes."""

from __future__ import annotations

import collections
import fcntl
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hgedge import staging
from hgedge.builder import BuildOptions, build
from hgedge.bundle import file_digest, open_bundle, read_manifest
from hgedge.staging import STALE_S, staged

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

log = logging.getLogger(__name__)

NAME = "tiny-int8-openvino"
KILLS = 20
PAGE = 4096


@pytest.fixture(scope="session")
def half(tiny_checkpoint, picture_folder, tmp_path_factory):
    """The portable half of a bundle, which builds in a second."""
    output = tmp_path_factory.mktemp("half")
    return build(
        BuildOptions(
            str(tiny_checkpoint), calibration=picture_folder, calibration_images=32, engine=False, output=output
        )
    ).bundle


@pytest.fixture(scope="session")
def other_half(half, picture_folder, tmp_path_factory):
    """Another, with ranges of other pictures, whose engine has the same name."""
    output = tmp_path_factory.mktemp("other")
    return build(
        BuildOptions(str(half), calibration=picture_folder, calibration_images=40, engine=False, output=output)
    ).bundle


@pytest.fixture(scope="session")
def start(program_environment):
    """Start a build as a process."""
    environment = {**program_environment, "OMP_NUM_THREADS": "1"}

    def start(model, output, *more):
        command = [sys.executable, "-m", "hgedge", "build", model, "--backend", "openvino", "--output", output, *more]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*map(str, command), "-q"], env=environment, **pipes)

    return start


@pytest.fixture(scope="session")
def whole(half, start, tmp_path_factory):
    """A bundle built undisturbed, and the seconds until its folder was begun and until it was there."""
    output = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    process = start(half, output)
    await_folder(process, output)
    begun = time.monotonic() - started
    assert ended(process)[0] == 0
    return output / NAME, begun, time.monotonic() - started


@pytest.fixture(scope="session")
def other_whole(other_half, start, tmp_path_factory):
    output = tmp_path_factory.mktemp("other-whole")
    assert ended(start(other_half, output))[0] == 0
    return output / NAME


def ended(process):
    """Exit code and stderr of a process, when it has ended."""
    said = process.communicate()[1]
    return process.returncode, said


def hidden(output):
    return sorted(path for path in output.iterdir() if path.name.startswith(f".{NAME}.")) if output.exists() else []


def await_folder(process, output):
    """Wait until a build begins its folder, or ends."""
    known = hidden(output)
    while process.poll() is None and hidden(output) == known:
        time.sleep(0.005)


def killed_builds(start, model, output, whole, *more):
    """Kill -9 builds at seeded moments, half of them counted from the start and half from the folder's beginning."""
    _, begun, total = whole
    chance = random.Random(5)
    for kill in range(KILLS):
        part = (kill + chance.random()) / KILLS
        process = start(model, output, *more)
        if kill % 2:
            await_folder(process, output)
            time.sleep(part * (total - begun))
        else:
            time.sleep(part * total)
        process.kill()
        ended(process)
        yield kill


def make_old(folder):
    """Let a folder look as if a build had died in it long ago."""
    long_ago = time.time() - 2 * STALE_S
    os.utime(folder, (long_ago, long_ago))


def test_killed_builds_leave_nothing_or_a_whole_bundle(half, start, whole, tmp_path):
    output = tmp_path / "engines"
    found = collections.Counter()
    for _ in killed_builds(start, half, output, whole):
        there = (output / NAME).exists()
        found["whole" if there else "none"] += 1
        if there:
            assert open_bundle(output / NAME).files.keys() == open_bundle(whole[0]).files.keys()
            shutil.rmtree(output / NAME)
    log.info("%d kills: %s", KILLS, dict(found))
    left = hidden(output)
    assert left and found["none"] >= len(left)

    for folder in left[1:]:
        make_old(folder)
    alive = output / f".{NAME}.livelive.partial"
    theirs = [output / name for name in (f".{NAME}.backup", f".{NAME}-conv.12345678.partial", "theirs")]
    for folder in (alive, *theirs):
        folder.mkdir()
        (folder / "file").write_text("kept")
        make_old(folder)
    lock = os.open(alive, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert ended(start(half, output)) == (0, "")
    os.close(lock)
    open_bundle(output / NAME)
    assert set(output.iterdir()) == {output / NAME, left[0], alive, *theirs}
    assert all((folder / "file").read_text() == "kept" for folder in (alive, *theirs))


def test_killed_replacements_leave_the_old_or_the_new(half, other_whole, start, whole, tmp_path):
    target = tmp_path / NAME
    names = {read_manifest(other_whole).digest: "old", read_manifest(whole[0]).digest: "new"}
    found = collections.Counter()
    shutil.copytree(other_whole, target)
    for _ in killed_builds(start, half, tmp_path, whole, "--force"):
        if target.exists():
            found[names[open_bundle(target).digest]] += 1
            shutil.rmtree(target)
        else:
            found["between"] += 1
            assert any(names[open_bundle(folder).digest] == "old" for folder in tmp_path.glob(".*/[0-9]"))
        shutil.copytree(other_whole, target)
    log.info("%d kills: %s", KILLS, dict(found))
    assert found["old"]
    assert ended(start(half, tmp_path, "--force")) == (0, "")
    assert names[open_bundle(target).digest] == "new"


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_two_builds_of_the_same_at_once(half, start, tmp_path, force):
    builds = [start(half, tmp_path, *force) for _ in range(2)]
    assert [ended(process) for process in builds] == [(0, ""), (0, "")]
    open_bundle(tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_second_of_two_keeps_what_the_first_has_made(whole, tmp_path):
    target = tmp_path / NAME
    with staged(target, force=False) as second:
        with staged(target, force=False) as first:
            shutil.copytree(whole[0], first, dirs_exist_ok=True)
        made = target.stat().st_ino
        shutil.copytree(whole[0], second, dirs_exist_ok=True)
    assert target.stat().st_ino == made and [path.name for path in tmp_path.iterdir()] == [NAME]


def test_of_two_bundles_of_one_name_one_wins(half, other_half, start, whole, other_whole, tmp_path):
    builds = [start(model, tmp_path) for model in (half, other_half)]
    (first, said), (second, other_said) = (ended(process) for process in builds)
    assert sorted((first, second)) == [0, 2]
    winner = whole[0] if first == 0 else other_whole
    assert open_bundle(tmp_path / NAME).digest == read_manifest(winner).digest
    message = said + other_said
    assert message.startswith("error: ") and len(message.splitlines()) == 1 and "--force" in message
    assert "made by someone else meanwhile" in message or "built from other weights" in message
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk in memory: small_disk(option)."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs Linux and root")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(option):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", folder], capture_output=True)


@pytest.mark.parametrize("filled_by", ["source.onnx", "model.onnx", "engine.xml", "golden.npz"])
def test_a_full_disk(half, start, whole, small_disk, filled_by):
    order = ("source.onnx", "calibration.json", "model.onnx", "engine.bin", "engine.xml", "golden.npz")
    pages = [-(-(whole[0] / name).stat().st_size // PAGE) for name in order]
    index = order.index(filled_by)
    disk = small_disk(f"size={(sum(pages[:index]) + pages[index] // 2) * PAGE}")
    code, said = ended(start(half, disk))
    assert (code, said) == (2, f"error: cannot write {disk / NAME}: No space left on device\n")
    assert not list(disk.iterdir())


def test_a_disk_that_can_only_be_read(half, start, small_disk):
    disk = small_disk("ro")
    code, said = ended(start(half, disk))
    assert (code, said) == (2, f"error: cannot write to {disk}: Read-only file system; choose another --output\n")


def test_a_file_in_the_place_of_the_output(half, start, tmp_path):
    (tmp_path / "engines").write_text("kept")
    code, said = ended(start(half, tmp_path / "engines"))
    assert (code, said) == (2, f"error: cannot write to {tmp_path / 'engines'}: File exists; choose another --output\n")
    assert (tmp_path / "engines").read_text() == "kept"


def test_odd_names(half, start, whole, tmp_path):
    odd = tmp_path / "a b" / 'l\'"été" *[x] $HOME 山'
    model = shutil.copytree(half, odd / "modèle 1")
    table = shutil.copyfile(half / "calibration.json", odd / "ranges ß's.json")
    assert ended(start(model, odd / "engines ż", "--calibration", table)) == (0, "")
    assert open_bundle(odd / "engines ż" / NAME).files["model.onnx"] == file_digest(whole[0] / "model.onnx")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_builds_leave_nothing(half, start, whole, tmp_path, number):
    _, begun, total = whole
    codes = []
    for part in (0.0, 0.25, 0.5):
        output = tmp_path / str(part)
        process = start(half, output)
        await_folder(process, output)
        time.sleep(part * (total - begun))
        process.send_signal(number)
        code, said = ended(process)
        codes.append(code)
        if code == 0:  # it was done before the signal came
            open_bundle(output / NAME)
        else:
            assert (code, said) == (130, "error: interrupted\n") and not output.exists()
    assert 130 in codes


def interrupted_at(line, work):
    """Run `work` with a KeyboardInterrupt in front of the given line that staging.py executes; whether it came."""
    left = line

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != staging.__file__:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files that it was about to close
def test_an_interrupt_at_any_line_leaves_nothing_or_the_whole(whole, tmp_path):
    def build():
        with staged(tmp_path / "new" / NAME, force=False) as folder:
            shutil.copytree(whole[0], folder, dirs_exist_ok=True)

    left = collections.Counter()
    for line in itertools.count():
        came = interrupted_at(line, build)
        left[tuple(path.relative_to(tmp_path) for path in tmp_path.glob("*/*"))] += 1
        if (tmp_path / "new").exists():
            open_bundle(tmp_path / "new" / NAME)
            shutil.rmtree(tmp_path / "new")
        if not came:
            break
    log.info("interrupts at %d lines: %s", line, dict(left))
    assert left.keys() == {(), (Path("new", NAME),)}
