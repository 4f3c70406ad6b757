"""The two ends of a command: stdout for the result, stderr for all else."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console

from hgedge.progress import Progress, no_progress

PLAIN_WIDTH = 120  # columns of what goes into a file or pipe
Show = Callable[[Console], None]


class Terminal:
    """Set up while a command runs: nothing that a library prints reaches stdout."""

    def __init__(self, json: bool = False, verbose: bool = False, quiet: bool = False) -> None:
        self.json, self.verbose, self.quiet = json, verbose, quiet
        self.stderr = _console(sys.stderr)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Terminal:
        enter = self._stack.enter_context
        self._stdout = enter(_own_stdout())
        enter(contextlib.redirect_stdout(sys.stderr if self.verbose else enter(open(os.devnull, "w"))))
        enter(warnings.catch_warnings())
        warnings.simplefilter("default" if self.verbose else "ignore")
        self._set_up_logging()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def result(self, document: Mapping[str, Any], show: Show) -> None:
        """Print a command's result on stdout.

        Args:
            document: What --json prints; numbers that are not finite become null.
            show: Prints it for people instead.
        """
        with self.results():
            if self.json:
                print(json.dumps(_finite(document), ensure_ascii=False, allow_nan=False), flush=True)
            else:
                show(_console(sys.stdout))

    @contextlib.contextmanager
    def results(self) -> Iterator[None]:
        """Let `print` and `sys.stdout` reach stdout for a while."""
        with contextlib.redirect_stdout(self._stdout):
            yield

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Bars on stderr, one a stage, if somebody may be looking at it; they vanish at the end."""
        if self.quiet or not self.stderr.is_terminal:
            yield no_progress
            return
        from rich import progress

        columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
        times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
        with progress.Progress(*columns, *times, console=self.stderr, transient=True) as bars:
            tasks: dict[str, progress.TaskID] = {}

            def report(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage)
                bars.update(tasks[stage], completed=done, total=total or None)

            yield report

    def _set_up_logging(self) -> None:
        """Let hgedge speak from INFO on, other libraries only with -v."""
        ours, root = logging.getLogger("hgedge"), logging.getLogger()
        self._stack.callback(ours.setLevel, ours.level)
        ours.setLevel(logging.DEBUG if self.verbose else logging.WARNING if self.quiet else logging.INFO)
        for logger, handler in (
            (ours, _Handler(self.stderr)),
            (root, _Handler(self.stderr) if self.verbose else logging.NullHandler()),
        ):
            logger.addHandler(handler)
            self._stack.callback(logger.removeHandler, handler)
        ours.propagate = False
        self._stack.callback(setattr, ours, "propagate", True)


class _Handler(logging.Handler):
    """Log lines beside progress bars, without spoiling them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        self.console.print(prefix + record.getMessage(), markup=False, highlight=False, soft_wrap=True)


def _console(file: Any) -> Console:
    return Console(file=file, width=None if file.isatty() else PLAIN_WIDTH, highlight=False)


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """A file that leads to stdout while descriptor 1, which C libraries print to, leads to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with open(kept, "w", encoding=sys.stdout.encoding, closefd=False) as file:
            yield file
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
