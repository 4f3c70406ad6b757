"""Who takes the CPU while something is timed: on machines of files, and on this one, which may be busy itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hgedge.benchmark import quiet
from hgedge.errors import NoisyMachine

OWN, CORES = 100, frozenset({0, 1})
BURN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
RESOLUTION_S = 0.15  # hundredths a core and a process, and the time that looking takes
LONGEST_S = 30  # of a process that a failing test may leave behind

Row = tuple[str, int, int, float, float]  # name, parent, started, own seconds, those of its ended children


def write_proc(proc: Path, up_s: float, idle_s: float, processes: dict[int, Row], stolen_s: float = 0.0) -> None:
    """A `/proc` of three cores, of which two are ours; what the third does must not matter."""
    proc.mkdir(exist_ok=True)
    ticks = 1 / quiet.TICK_S
    busy_s = 2 * up_s - idle_s - stolen_s
    columns = [[busy_s / 2, 0, 0, idle_s / 2, 0, 0, 0, stolen_s / 2, 0, 0]] * 2 + [[up_s] + [0] * 9]
    rows = [" ".join(str(round(value * ticks)) for value in core) for core in columns]
    text = "".join(f"cpu{index} {row}\n" for index, row in enumerate(rows))
    (proc / "stat").write_text(f"cpu  {rows[0]}\n{text}intr 1 2 3\nctxt 5\n")
    (proc / "uptime").write_text(f"{up_s:.2f} {idle_s:.2f}\n")
    for old in proc.glob("[0-9]*/stat"):
        old.unlink()
    for pid, (name, parent, started, own_s, children_s) in processes.items():
        (proc / str(pid)).mkdir(exist_ok=True)
        times = f"{round(own_s * ticks)} 0 {round(children_s * ticks)} 0"
        (proc / str(pid) / "stat").write_text(
            f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0 {started}"
        )


def watched(proc: Path, before: tuple, after: tuple) -> quiet.Watch:
    write_proc(proc, *before)
    with quiet.Watch(proc, CORES, OWN) as watch:
        write_proc(proc, *after)
    return watch


def test_own_threads_and_children_are_nobody_else(tmp_path: Path) -> None:
    before = (1000.0, 1900.0, {1: ("init", 0, 0, 5, 900), OWN: ("python", 1, 7, 50, 20), 101: ("tee", OWN, 8, 1, 0)})
    after = (
        1010.0,
        1905.0,  # of 20 s, 15 were busy
        {
            1: ("init", 0, 0, 5, 900),
            OWN: ("python", 1, 7, 58, 25),
            102: ("cc1", 103, 9, 2, 0),
            103: ("cc", OWN, 9, 0, 0),
        },
    )  # 101 has ended and counts as a child's second that was before; its four in between count
    watch = watched(tmp_path / "proc", before, after)
    own_s = 8 + (25 - 20 - 1) + 2
    assert watch.share == pytest.approx((15 - own_s) / 20)
    assert watch.others == {} and watch.busiest == quiet.UNSEEN


def test_another_process_is_named(tmp_path: Path) -> None:
    before = (
        10.0,
        18.0,
        {OWN: ("python", 1, 7, 0, 0), 200: ("Web Content) (x", 1, 3, 100, 0), 201: ("cron", 1, 3, 0, 0)},
    )
    after = (
        20.0,
        25.0,
        {OWN: ("python", 1, 7, 6, 0), 200: ("Web Content) (x", 1, 3, 106, 0), 201: ("cron", 1, 3, 1, 0)},
    )
    watch = watched(tmp_path / "proc", before, after)
    assert watch.share == pytest.approx((20 - 7 - 6) / 20)
    assert watch.others == {"Web Content) (x (pid 200)": 0.3, "cron (pid 201)": 0.05}
    with pytest.raises(NoisyMachine) as caught:
        quiet.require(watch)
    assert str(caught.value) == (
        "timing needs a machine whose other processes take at most 5% of the CPU, but they took 35%, most of it "
        "Web Content) (x (pid 200); stop them, or wait; --allow-noise times all the same"
    )
    assert caught.value.exit_code == 2


def test_processes_that_come_and_go_are_found_in_their_parent(tmp_path: Path) -> None:
    """make, whose compilers nobody sees; of the shell and compiler that were there before, what they did since."""
    make, shell, compiler = ("make", 1, 4, 1, 50), ("sh", 300, 5, 3, 0), ("cc1", 301, 5, 40, 0)
    before = (10.0, 18.0, {OWN: ("python", 1, 7, 0, 0), 300: make, 301: shell, 302: compiler})
    after = (20.0, 26.0, {OWN: ("python", 1, 7, 6, 0), 300: ("make", 1, 4, 1, 50 + 3 + 40 + 6)})
    watch = watched(tmp_path / "proc", before, after)
    assert watch.others == {"make (pid 300)": 0.3} and watch.busiest == "make (pid 300)"
    assert watch.share == pytest.approx(0.3)


def test_what_nobody_sees_counts_too(tmp_path: Path) -> None:
    """The rest of the machine around a container, or children that nobody waited for."""
    before = (10.0, 18.0, {OWN: ("python", 1, 7, 0, 0), 200: ("cron", 1, 3, 0, 0)})
    after = (20.0, 28.0, {OWN: ("python", 1, 7, 6, 0), 200: ("cron", 1, 3, 0.5, 0)})
    watch = watched(tmp_path / "proc", before, after)
    assert watch.share == pytest.approx(0.2)
    with pytest.raises(
        NoisyMachine, match="took 20%, most of it processes that ended, or that cannot be seen from here"
    ):
        quiet.require(watch)


def test_a_number_that_is_given_again_is_another_process(tmp_path: Path) -> None:
    before = (10.0, 18.0, {OWN: ("python", 1, 7, 0, 0), 200: ("old", 1, 3, 70, 0)})
    after = (20.0, 33.0, {OWN: ("python", 1, 7, 1, 0), 200: ("new", 1, 9, 4, 0)})
    assert watched(tmp_path / "proc", before, after).others == {"new (pid 200)": 0.2}


def test_time_stolen_from_a_virtual_machine_is_no_process(tmp_path: Path) -> None:
    processes = {OWN: ("python", 1, 7, 0, 0)}
    watch = watched(tmp_path / "proc", (10.0, 20.0, processes), (20.0, 38.0, processes, 2.0))
    assert (watch.share, watch.stolen) == (0.0, 0.1)
    assert quiet.require(watch) is watch


def test_where_the_system_counts_nothing_those_seen_count(tmp_path: Path) -> None:
    """gVisor: /proc/stat holds zeros."""
    proc = tmp_path / "proc"
    write_proc(proc, 10.0, 20.0, {OWN: ("python", 1, 7, 0, 0), 200: ("sh", 1, 3, 0, 0)})
    (proc / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n")
    with quiet.Watch(proc, CORES, OWN) as watch:
        nothing = (proc / "stat").read_text()
        write_proc(proc, 20.0, 20.0, {OWN: ("python", 1, 7, 9, 0), 200: ("sh", 1, 3, 4, 0)})
        (proc / "stat").write_text(nothing)
    assert (watch.share, watch.busiest) == (0.2, "sh (pid 200)")


def of(share: float) -> quiet.Watch:
    watch = quiet.Watch()
    watch.share, watch.stolen, watch.others, watch.busiest = share, 0.0, {}, "cc1 (pid 9)"
    return watch


def test_waiting_until_it_is_quiet() -> None:
    looks, told = iter([of(0.5), of(0.06), of(0.05), of(0.9)]), []
    found = quiet.await_quiet(lambda *step: told.append(step), patience_s=10, look=lambda: next(looks))
    assert found.share == 0.05
    assert told == [("waiting for cc1 (pid 9)", 1, 10), ("waiting for cc1 (pid 9)", 2, 10)]


def test_patience_ends() -> None:
    looks = []
    with pytest.raises(NoisyMachine, match=r"but they took 50%, most of it cc1 \(pid 9\)"):
        quiet.await_quiet(patience_s=5, look=lambda: looks.append(1) or of(0.5))
    assert len(looks) == 5


@pytest.fixture
def stranger():
    """The pid of a busy process of another session, whose parent has gone, so that it is nobody's child here."""
    burn = BURN.format(seconds=LONGEST_S)
    command = ["sh", "-c", '"$0" -c "$1" >/dev/null 2>&1 & echo $!', sys.executable, burn]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


def test_a_busy_stranger_is_found_and_named(stranger: int) -> None:
    def seconds() -> float:
        return quiet.moment(quiet.PROC, quiet.CORES).processes[stranger].seconds

    before, started = seconds(), time.monotonic()
    with quiet.watch() as watch:
        while seconds() < before + 0.5:  # of CPU time: a busy machine may give it little
            time.sleep(0.05)
    available = (time.monotonic() - started) * len(quiet.CORES)
    (share,) = [share for name, share in watch.others.items() if name.endswith(f"(pid {stranger})")]
    assert share * available == pytest.approx(0.5, abs=RESOLUTION_S)
    assert watch.share * available >= 0.5 - RESOLUTION_S
    if share > quiet.LIMIT:
        with pytest.raises(NoisyMachine, match="but they took"):
            quiet.require(watch)


def test_our_own_threads_and_children_are_not_found() -> None:
    """All that is left for others is what we did not take, however busy the machine is."""
    burn = BURN.format(seconds=0.4)
    before, started = sum(os.times()[:4]), time.monotonic()
    with quiet.watch() as watch:
        threads = [threading.Thread(target=exec, args=(burn, {})) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(2):  # one that is waited for inside, one after the other
            subprocess.run([sys.executable, "-S", "-c", burn], check=True, start_new_session=True)
        child = subprocess.Popen([sys.executable, "-S", "-c", BURN.format(seconds=LONGEST_S)])
        time.sleep(0.3)
    available = (time.monotonic() - started) * len(quiet.CORES)
    child.kill()
    child.wait()
    own_s = sum(os.times()[:4]) - before
    assert own_s > 0.5
    assert watch.share * available <= available - own_s + RESOLUTION_S
    assert not [name for name in watch.others if name.endswith((f"(pid {os.getpid()})", f"(pid {child.pid})"))]
