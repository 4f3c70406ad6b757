"""How long the first pose takes in a fresh process, and the most memory that it holds.

    started       from the start of the process to its first line: Python itself
    import        of hgedge's runtime
    load          of the bundle, with the import of its backend
    first pose    of a frame of 640 x 480
    total         all of it

Files may lie in the system's cache: a machine that has just been switched on takes longer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hgedge.bundle import open_bundle
from hgedge.errors import ConfigError, EngineMismatch

RUNS = 3
HANGS_S = 600.0
HERE = Path(__file__).parents[2]  # where hgedge is found from
PEAK = "VmHWM"  # getrusage's ru_maxrss begins with what the process that started this one holds
PROGRAM = f"""
import time
moments = [time.monotonic()]
import sys
import numpy as np
from hgedge import load
moments.append(time.monotonic())
pipeline = load(sys.argv[1])
moments.append(time.monotonic())
pipeline(np.zeros((480, 640, 3), np.uint8))
moments.append(time.monotonic())
import json
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([moments, int(status["{PEAK}"].split()[0]) / 1024]), flush=True)
pipeline.close()
"""


def cold_start(bundle: Path, runs: int = RUNS) -> dict[str, Any]:
    """Medians of a few fresh processes, as JSON.

    Returns:
        started_ms, import_ms, load_ms, first_pose_ms, total_ms; peak_memory_mib, of the CPU's; runs.

    Raises:
        ConfigError: There are no runs.
        EngineMismatch: The bundle is not whole, or gives no pose.
    """
    if runs < 1:
        raise ConfigError(f"a cold start needs one run or more, but got {runs}")
    open_bundle(bundle)
    taken = [_once(bundle) for _ in range(runs)]
    return {name: round(statistics.median(each[name] for each in taken), 1) for name in taken[0]} | {"runs": runs}


def _once(bundle: Path) -> dict[str, float]:
    command = [sys.executable, "-c", PROGRAM, str(bundle)]
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    started = time.monotonic()  # the same clock in all processes
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=HANGS_S
        )
        moments, peak_mib = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EngineMismatch(f"{bundle} gave no pose in {HANGS_S:.0f} s; try: hgedge verify {bundle}") from error
    except (IndexError, ValueError) as error:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EngineMismatch(
            f"a fresh process must get a pose from {bundle}, but it failed: {why}; try: hgedge verify {bundle}"
        ) from error
    names = ("started_ms", "import_ms", "load_ms", "first_pose_ms")
    ends = [started, *moments]
    found = {name: 1e3 * (end - begin) for name, begin, end in zip(names, ends, ends[1:])}
    return found | {"total_ms": 1e3 * (ends[-1] - started), "peak_memory_mib": peak_mib}
