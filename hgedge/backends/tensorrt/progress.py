"""What TensorRT's progress monitor tells, as one stage: steps done of all that were announced so far."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from hgedge.progress import Progress

STAGE = "engine"


class Steps:
    """Phases, which nest, overlap and come again; told from any thread.

    Attributes:
        failure: What the listener raised; the build is cancelled then.
    """

    def __init__(self, progress: Progress) -> None:
        self.failure: BaseException | None = None
        self._progress = progress
        self._lock = threading.Lock()
        self._running: dict[str, tuple[int, int]] = {}  # phase -> steps done, steps
        self._finished = 0
        self._announced = 0

    def start(self, phase: str, steps: int) -> None:
        """A phase of so many steps begins."""
        with self._lock:
            self._end(phase)
            self._running[phase] = (0, steps)
            self._announced += steps
            self._tell()

    def step(self, phase: str, step: int) -> bool:
        """A step, counted from 0, is done; returns whether to go on."""
        with self._lock:
            done, steps = self._running.get(phase, (0, 0))
            self._running[phase] = (max(done, min(step + 1, steps)), steps)
            self._tell()
            return self.failure is None

    def finish(self, phase: str) -> None:
        """A phase ends, with all of its steps or not."""
        with self._lock:
            self._end(phase)
            self._tell()

    def _end(self, phase: str) -> None:
        self._finished += self._running.pop(phase, (0, 0))[1]

    def _tell(self) -> None:
        if self.failure is not None:
            return
        try:
            self._progress(STAGE, self._finished + sum(done for done, _ in self._running.values()), self._announced)
        except BaseException as error:  # must not pass through TensorRT's C++; Ctrl-C comes this way too
            self.failure = error


def monitor(trt: ModuleType, steps: Steps) -> Any | None:
    """A progress monitor that tells `steps`; None where there is none, as in TensorRT 8."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            steps.start(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return steps.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            steps.finish(phase_name)

    return Monitor()
