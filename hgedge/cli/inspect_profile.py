"""`hgedge inspect --profile`: which layers an engine's time goes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hgedge import records
from hgedge.cli.terminal import Terminal

WORST = 8  # layers of a stack that are shown unless all are asked for
INDENT = "  "  # before a layer's name, below its stack
NUMBERS = ("ms", "%", "GMAC", "GMAC/s")


def profile_document(terminal: Terminal, bundle: Path, runs: int) -> dict[str, Any]:
    """Time the layers of a bundle's engine: `profile`.

    Raises:
        EngineMismatch: There is no engine, or it does not fit this machine.
        BackendUnavailable: Its backend is not here, or has no profiler.
    """
    from hgedge.benchmark import layers

    with terminal.progress() as progress:
        found = layers.profile(bundle, runs, progress)
        engine_ms = layers.engine_ms(bundle, runs, progress)
    total = sum(layer.ms for layer in found)
    rows = [
        {**records.to_mapping(layer), "share": _share(layer.ms, total), "gmac_per_s": layer.gmac_per_s}
        for layer in found
    ]
    return {
        "profile": {
            "runs": runs,
            "engine_ms": engine_ms,
            "layers_ms": total,
            "stacks": [{"stack": stack, **_sum(group, total)} for stack, group in stacks_of(rows).items()],
            "precisions": {name: _sum(group, total) for name, group in _groups(rows, "precision").items()},
            "layers": rows,
        }
    }


def stacks_of(rows: Iterable[Mapping[str, Any]]) -> dict[int | None, list[Mapping[str, Any]]]:
    """Layers by stack, in the order of the stacks, what is in none first; the slowest layer of each first."""
    groups = _groups(sorted(rows, key=lambda row: -row["ms"]), "stack")
    return dict(sorted(groups.items(), key=lambda item: -1 if item[0] is None else item[0]))


def show(console: Console, profile: Mapping[str, Any], every: bool = False) -> None:
    """Print a profile for people, a group a stack; all layers, or the slowest of each."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("type", no_wrap=True)
    for heading in NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    stacks = stacks_of(profile["layers"])
    for group in profile["stacks"]:
        rows = stacks[group["stack"]]
        shown = rows if every or len(rows) <= WORST + 1 else rows[:WORST]
        table.add_row()
        title = f"{_title(group['stack'], len(stacks))}: {len(rows)} layers"
        table.add_row(title, "", "", *_numbers(group), style="bold")
        for row in shown:
            table.add_row(INDENT + escape(row["name"]), escape(row["kind"]), escape(row["precision"]), *_numbers(row))
        if len(shown) < len(rows):
            rest = _sum(rows[len(shown) :], profile["layers_ms"])
            table.add_row(f"{INDENT}{rest['layers']} others", "", "", *_numbers(rest))
    console.print(table, "", sep="\n")
    console.print(summary_text(profile), markup=False)
    if not every:
        console.print("--layers shows every layer, --json all that is known of each.", markup=False)


def summary_text(profile: Mapping[str, Any]) -> str:
    """What the layers take together, in which types, and what the engine takes when nobody watches."""
    types = ", ".join(
        f"{_percent(group['share'])} % in {name}" for name, group in profile["precisions"].items() if group["share"]
    )
    between = profile["engine_ms"] - profile["layers_ms"]
    rest = (
        f"{between:.3f} ms lie between the layers, before and after them"
        if between > 0
        else "less than its layers, as the profiler costs time itself"
    )
    return (
        f"All {len(profile['layers'])} layers take {profile['layers_ms']:.3f} ms a crop, {types} (medians of "
        f"{profile['runs']} runs). The engine takes {profile['engine_ms']:.3f} ms without the profiler: {rest}."
    )


def _title(stack: int | None, groups: int) -> str:
    if stack is not None:
        return f"stack {stack}"
    return "in no stack" if groups > 1 else "whole network"


def _groups(rows: Iterable[Mapping[str, Any]], key: str) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def _sum(rows: Sequence[Mapping[str, Any]], total: float) -> dict[str, Any]:
    """Layers taken together; the rate is of those that have multiply-accumulates."""
    ms = sum(row["ms"] for row in rows)
    counted = [row for row in rows if row["gmacs"] is not None]
    gmacs, busy = sum(row["gmacs"] for row in counted), sum(row["ms"] for row in counted)
    rate = 1e3 * gmacs / busy if busy else None
    return {"layers": len(rows), "ms": ms, "share": _share(ms, total), "gmacs": gmacs, "gmac_per_s": rate}


def _share(ms: float, total: float) -> float:
    """Of the time of all layers, 0 to 1."""
    return ms / total if total else 0.0


def _numbers(row: Mapping[str, Any]) -> tuple[str, ...]:
    gmacs = f"{row['gmacs']:.4f}" if row["gmacs"] else ""
    rate = f"{row['gmac_per_s']:.0f}" if row["gmac_per_s"] else ""
    return f"{row['ms']:.3f}", _percent(row["share"]), gmacs, rate


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
