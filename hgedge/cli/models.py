"""`hgedge models`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hgedge.cli.terminal import Terminal
from hgedge.models.zoo import DEFAULT, FACTS, SIZES, shipped_half, shipped_weights, zoo_names


def models(terminal: Terminal) -> None:
    """List the models that have names: their size, what comes with hgedge, and how well they do."""
    rows = [row(name) for name in zoo_names()]
    terminal.result({"models": rows}, lambda console: show(console, rows))


def row(name: str) -> dict[str, Any]:
    """What is known of a model; sizes of files in bytes, null where it has none."""
    facts, weights, half = FACTS[name], shipped_weights(name), shipped_half(name)
    return {
        "name": name,
        **SIZES[name],
        "keypoints": facts.keypoints,
        "input_hw": facts.input_hw,
        "parameters": facts.parameters,
        "gmacs": facts.gmacs,
        "shipped": weights is not None or half is not None,
        "weights_bytes": weights.stat().st_size if weights else None,
        "portable_bytes": _size(half) if half else None,
        "data": facts.data,
        "accuracy": facts.accuracy,
        "accuracy_source": facts.source or None,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def show(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table of sizes, then where the weights come from and how well they do."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model")
    for title in ("stacks", "features", "keypoints", "input", "params", "GMAC", "weights"):
        table.add_column(title, justify="right", no_wrap=True)
    for item in rows:
        table.add_row(
            item["name"],
            str(item["num_stacks"]),
            str(item["num_features"]),
            f"{item['num_keypoints']} {item['keypoints']}",
            "x".join(map(str, item["input_hw"])),
            f"{item['parameters'] / 1e6:.2f} M",
            f"{item['gmacs']:.2f}",
            f"{item['weights_bytes'] / 2**20:.1f} MiB" if item["weights_bytes"] else "not shipped",
        )
    console.print(table)
    for data in dict.fromkeys(item["data"] for item in rows):
        _print_data(console, [item for item in rows if item["data"] == data])
    console.print(
        f"\nhgedge build {DEFAULT}\nhgedge build CHECKPOINT.pth, where no weights are shipped", soft_wrap=True
    )


def _print_data(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print a paragraph of models that share their data."""
    console.print(
        Text("\n").append(", ".join(item["name"] for item in rows), style="bold").append(f": {rows[0]['data']}")
    )
    for item in rows:
        if item["accuracy"]:
            scores = ", ".join(f"{metric} {value:g}" for metric, value in item["accuracy"].items())
            console.print(Text(f"{item['name']}: {scores} ({item['accuracy_source']})"))
