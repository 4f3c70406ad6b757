"""`hgedge doctor`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from hgedge import records
from hgedge.cli.terminal import Terminal

if TYPE_CHECKING:
    from hgedge.doctor import Check

WORDS = {"ok": ("ok", "green"), "missing": ("missing", "yellow"), "broken": ("broken", "red"), "absent": ("-", "dim")}
STATE_WIDTH, NAME_WIDTH = 11, 14
INDENT = STATE_WIDTH + NAME_WIDTH


def doctor(terminal: Terminal) -> int:
    """Say what this machine has, what it lacks for building and running engines, and how to mend that."""
    from hgedge.doctor import examine, healthy, this_machine

    groups = examine(this_machine())
    ok = healthy(groups)
    checks = [{"group": name, **records.to_mapping(check)} for name, group in groups.items() for check in group]
    terminal.result({"checks": checks, "ok": ok}, lambda console: show(console, groups, ok))
    return 0 if ok else 1


def show(console: Console, groups: Mapping[str, Sequence[Check]], ok: bool) -> None:
    """Print the checks by group, a fix under each one that is not ok, and the verdict."""
    for name, checks in groups.items():
        console.print(Text(name, style="bold"))
        for check in checks:
            _print(console, check)
    console.print(_verdict(groups, ok), soft_wrap=True)


def _verdict(groups: Mapping[str, Sequence[Check]], ok: bool) -> Text:
    checks = [check for group in groups.values() for check in group]
    broken = [check.name for check in checks if check.state == "broken"]
    lacking = [check.name for check in checks if check.name in ("run", "build") and check.state != "ok"]
    if ok:
        able = "run here; nothing can be built" if lacking else "be built and run here"
        return Text(f"engines can {able}", style="bold green")
    parts = [f"broken: {', '.join(broken)}"] * bool(broken) + [f"cannot {' or '.join(lacking)} here"] * bool(lacking)
    return Text("; ".join(parts), style="bold red")


def _print(console: Console, check: Check) -> None:
    word, style = WORDS[check.state]
    lines = textwrap.wrap(check.found, max(console.width - INDENT, 30), break_on_hyphens=False, break_long_words=False)
    line = Text("  ").append(f"{word:{STATE_WIDTH - 2}}", style=style)
    line.append(f"{check.name:{NAME_WIDTH}}", style="" if check.state != "absent" else "dim")
    line.append(f"\n{' ' * INDENT}".join(lines) or "-", style="" if check.state != "absent" else "dim")
    console.print(line, soft_wrap=True)
    if check.fix:  # never wrapped: it is there to be copied
        console.print(Text(f"{' ' * INDENT}-> {check.fix}", style="cyan"), soft_wrap=True)
