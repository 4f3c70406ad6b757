"""Whether other processes take the CPU while something is timed.

    busy     seconds x cores, less what was idle, waiting for disks, in interrupts or stolen by another virtual machine
    own      what this process and all that descend from it took, their ended children too
    share    (busy - own) / (seconds x cores)

So what comes and goes between two looks counts, and in a container what the whole machine does: `/proc/stat` tells of
it all. Where that does not move (gVisor), others are those that can be seen. Cores are the ones this process may use.

Source: Linux, Documentation/filesystems/proc.rst, sections 1.1 and 1.7.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hgedge.errors import NoisyMachine
from hgedge.progress import Progress, no_progress

LIMIT = 0.05
PROC = Path("/proc")
CORES = frozenset(os.sched_getaffinity(0))  # before OpenMP binds the main thread to one of them
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
NOT_BUSY = slice(3, 8)  # columns of /proc/stat: idle, iowait, irq, softirq, steal
STOLEN = 7
GLANCE_S = 1.0
UNSEEN = "processes that ended, or that cannot be seen from here"


@dataclass(frozen=True)
class Process:
    """A process at a moment; `seconds` are of its ended children too, `started` tells it from another of its number."""

    name: str
    parent: int
    started: str
    seconds: float


@dataclass(frozen=True)
class Moment:
    """What the system had counted at a moment: time up, of all cores not busy, stolen, counted at all, of processes."""

    up_s: float
    not_busy_s: float
    stolen_s: float
    counted_s: float
    processes: Mapping[int, Process]


class Watch:
    """What other processes do while its `with` block runs, which is a second at least: the system counts hundredths.

    Attributes:
        share: Of all CPU time, that others took, 0 to 1.
        stolen: That the host of this virtual machine gave to another; not in `share`.
        others: "python (pid 4711)" -> its share, for those that can be seen; the busiest first.
        busiest: Who took most of `share`.
    """

    share: float
    stolen: float
    others: dict[str, float]
    busiest: str

    def __init__(self, proc: Path = PROC, cores: frozenset[int] = CORES, own: int | None = None) -> None:
        self._proc, self._cores, self._own = proc, cores, os.getpid() if own is None else own

    def __enter__(self) -> Watch:
        self._before = moment(self._proc, self._cores)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before, after = self._before, moment(self._proc, self._cores)
        available = max((after.up_s - before.up_s) * len(self._cores), TICK_S)
        taken = _taken(before.processes, after.processes)
        family = _family({**before.processes, **after.processes}, self._own)
        others = {pid: seconds for pid, seconds in taken.items() if pid not in family}
        seen = all_others = sum(others.values())
        if after.counted_s > before.counted_s:
            own = sum(taken.values()) - seen
            all_others = available - (after.not_busy_s - before.not_busy_s) - own
        self.share = round(min(max(all_others / available, 0.0), 1.0), 4)
        self.stolen = round((after.stolen_s - before.stolen_s) / available, 4)
        most = sorted((pid for pid in others if others[pid] > 0), key=lambda pid: -others[pid])
        self.others = {f"{after.processes[pid].name} (pid {pid})": round(others[pid] / available, 4) for pid in most}
        self.busiest = next(iter(self.others)) if most and others[most[0]] >= all_others - seen else UNSEEN


def watch() -> Watch:
    """A context manager that watches what other processes do while its block runs."""
    return Watch()


def glance() -> Watch:
    """What other processes do within a second."""
    with watch() as looked:
        time.sleep(GLANCE_S)
    return looked


def require(watched: Watch | None = None) -> Watch:
    """Refuse to time on a machine where others take over 5 % of the CPU; without a watch, look for a second.

    Raises:
        NoisyMachine: They do.
    """
    found = watched or glance()
    if found.share > LIMIT:
        raise NoisyMachine(
            f"timing needs a machine whose other processes take at most {LIMIT:.0%} of the CPU, but they took "
            f"{found.share:.0%}, most of it {found.busiest}; stop them, or wait; --allow-noise times all the same"
        )
    return found


def await_quiet(
    progress: Progress = no_progress, patience_s: float = 30.0, look: Callable[[], Watch] = glance
) -> Watch:
    """Wait until others leave the CPU alone for a second.

    Args:
        progress: Is told of every second waited.
        patience_s: Looks are taken for so long.
        look: Takes one.

    Raises:
        NoisyMachine: They did not.
    """
    looks = max(1, math.ceil(patience_s / GLANCE_S))
    for done in range(1, looks):
        found = look()
        if found.share <= LIMIT:
            return found
        progress(f"waiting for {found.busiest}", done, looks)
    return require(look())


def moment(proc: Path, cores: frozenset[int]) -> Moment:
    """What the system has counted until now."""
    names = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in (proc / "stat").read_text().splitlines() if line.startswith("cpu")]
    rows = [[int(value) * TICK_S for value in columns] for name, *columns in lines if name in names]
    return Moment(
        up_s=float((proc / "uptime").read_text().split()[0]),
        not_busy_s=sum(sum(row[NOT_BUSY]) for row in rows),
        stolen_s=sum(row[STOLEN] for row in rows if len(row) > STOLEN),
        counted_s=sum(map(sum, rows)),
        processes=_processes(proc),
    )


def _processes(proc: Path) -> dict[int, Process]:
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            before, _, after = text.rpartition(")")  # the name may hold brackets and spaces
            columns = after.split()
            seconds = sum(map(int, columns[11:15])) * TICK_S
            found[int(folder.name)] = Process(before.partition("(")[2], int(columns[1]), columns[19], seconds)
    return found


def _taken(before: Mapping[int, Process], after: Mapping[int, Process]) -> dict[int, float]:
    """Seconds that each took in between, with those of its children that ended."""
    ended = {pid: was for pid, was in before.items() if pid not in after or after[pid].started != was.started}
    taken = {
        pid: now.seconds - (before[pid].seconds if pid in before and pid not in ended else 0.0)
        for pid, now in after.items()
    }
    for was in ended.values():  # its whole life has become that of the nearest ancestor which is still there
        heir = was.parent
        while heir in ended:
            heir = ended[heir].parent
        if heir in taken:
            taken[heir] -= was.seconds
    return {pid: max(0.0, seconds) for pid, seconds in taken.items()}


def _family(processes: Mapping[int, Process], pid: int) -> set[int]:
    """A process and all that descend from it."""
    family = {pid}
    while added := {each for each, process in processes.items() if process.parent in family} - family:
        family |= added
    return family
