"""The regression gate proven: `pytest --hgedge-baseline` in processes of its own, on code and machines made slower.

A plugin makes `decode` spin for 15 % longer: caught. A process that stands still every other millisecond has a machine
of half the speed: not caught. Busy processes on every core: refused. With `--hgedge-noisy` this itself may run on a
machine that is not quiet.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hgedge.benchmark.environment import CORES

BENCHMARKS = ("bench_gate.py::test_decode", "bench_latency.py::test_preprocess[default-1]")
DECODE, CROP = (name.replace(".py", "") for name in BENCHMARKS)
CALLS = 500  # of decode a round, which lasts for many moments of a machine that stops and starts
PLANTED = 1.15
PLUGIN = f"""
import importlib, time
room = importlib.import_module("hgedge.runtime.decode")
plain = room.decode
def slower(*args, **kwargs):
    started = time.perf_counter()
    found = plain(*args, **kwargs)
    until = started + {PLANTED} * (time.perf_counter() - started)
    while time.perf_counter() < until:
        pass
    return found
room.decode = slower
"""
BUSY = 2  # processes a core
SLOWED = 1.3  # times as long, by their mean, that benchmarks take at least on a machine made slower
STOPPED_S = 0.001  # and as long running, and so on


@pytest.fixture(scope="module")
def gated(request, tmp_path_factory):
    """gated(options, noisy, around): pytest on BENCHMARKS; its exit status, what it says, and their mean times."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "planted.py").write_text(PLUGIN)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    }
    as_it_is = request.config.getoption("--hgedge-noisy")
    names = [f"benchmarks/{name}" for name in BENCHMARKS]
    told = folder / "benchmark.json"

    def run(*options, noisy=as_it_is, around=contextlib.nullcontext):
        command = [sys.executable, "-m", "pytest", *names, "-q", "-p", "no:cacheprovider", f"--benchmark-json={told}"]
        command += [
            f"--hgedge-results={folder}",
            "--benchmark-quiet",
            "-Wignore::UserWarning",
            *["--hgedge-noisy"] * noisy,
            *options,
        ]
        told.unlink(missing_ok=True)
        process = subprocess.Popen(
            command, cwd=request.config.rootpath, env=environment, stdout=subprocess.PIPE, text=True
        )
        with around(process):
            output, _ = process.communicate()
        means = json.loads(told.read_text())["benchmarks"] if told.exists() else []
        return process.returncode, output, {each["name"]: each["stats"]["mean"] for each in means}

    status, output, run.means = run("--hgedge-save")
    assert status == 0, output
    return run


def test_decode(timed):
    """What the processes time, beside crops."""
    from hgedge.runtime.decode import decode

    maps = np.random.default_rng(0).normal(size=(1, 14, 48, 48)).astype(np.float32)
    timed(lambda: decode(maps), "array", CALLS)


def table_of(output):
    """The lines that it ends with, from the table's head on."""
    lines = output.splitlines()
    return lines[next(index for index, line in enumerate(lines) if line.startswith("benchmark ")) :]


def line_of(output, name):
    """The table's line on a benchmark."""
    return next(line for line in output.splitlines() if line.startswith(name))


@contextlib.contextmanager
def busy(process):
    """Processes that do nothing but spin, on every core."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY * CORES)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


@contextlib.contextmanager
def halting(process):
    """A process that stands still half of the time."""
    done = threading.Event()

    def halt():
        while not done.wait(STOPPED_S):
            process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=halt)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_the_same_code_passes(gated, save):
    status, output, _ = gated("--hgedge-baseline")
    save("gate-same-code", {"exit_status": status, "table": table_of(output)})
    assert status == 0, output
    assert all(line_of(output, name).endswith("level") for name in (DECODE, CROP)), output


def test_a_planted_slowdown_is_caught(gated, save):
    status, output, _ = gated("--hgedge-baseline", "-p", "planted")
    save("gate-planted-slowdown", {"planted": PLANTED, "exit_status": status, "table": table_of(output)})
    assert status == 1, output
    assert line_of(output, DECODE).endswith("slower"), output
    assert not line_of(output, CROP).endswith("slower"), output


def test_a_slow_machine_is_not(gated, save):
    status, output, means = gated("--hgedge-baseline", f"--deselect=benchmarks/{BENCHMARKS[1]}", around=halting)
    slowed = round(means["test_decode"] / gated.means["test_decode"], 3)
    results = {"times_as_long_in_the_mean": slowed, "exit_status": status, "table": table_of(output)}
    save("gate-slow-machine", results)
    assert slowed >= SLOWED, output
    assert status == 0 and not line_of(output, DECODE).endswith("slower"), output


def test_a_busy_machine_is_refused(gated):
    status, output, means = gated("--hgedge-baseline", "--hgedge-patience=2", noisy=False, around=busy)
    assert status == 2 and "too noisy" in output and not means, output
