"""The document of a bench as Markdown, to paste into a README or an issue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hgedge.benchmark.report.columns import STAGES, Column, columns, conditions, machine, stage_columns

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")  # what means something to Markdown, or to the HTML in it


def text(document: Mapping[str, Any]) -> str:
    """Both tables, the machine, and how the numbers came about."""
    rows = document["rows"]
    parts = [
        f"# {', '.join(dict.fromkeys(escaped(row['model']['name']) for row in rows))} on {escaped(machine(document))}",
        table(columns(document), rows),
        f"Milliseconds of each stage, p50 / p95 / p99 ({', '.join(STAGES.values())} by the clock on the wall):",
        table(stage_columns(), rows),
        "\n".join(escaped(sentence) for sentence in conditions(document)),
        "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in facts(document).items()),
    ]
    return "\n\n".join(parts) + "\n"


def table(shown: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table, names on the left and numbers on the right."""
    lines = [[column.heading for column in shown], ["---", *["---:"] * (len(shown) - 1)]]
    lines += [[escaped(column.tell(row)) for column in shown] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(value: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(value.split()))


def facts(document: Mapping[str, Any]) -> dict[str, str]:
    """The environment, flat: name -> value."""
    return {name: value for name, value in _flat(document["environment"]) if value}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        inner = [_flat(item, f"{name} {key}".strip().replace("_", " ")) for key, item in value.items()]
        return [pair for pairs in inner for pair in pairs]
    if isinstance(value, (list, tuple)):
        return [(name, ", ".join(map(str, value)))]
    return [(name, "" if value is None else str(value))]
