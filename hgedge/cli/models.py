"""`hgedge models`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hgedge.bundle import file_digest
from hgedge.cli.terminal import Terminal
from hgedge.errors import ConfigError
from hgedge.models.pull import pull
from hgedge.models.zoo import (
    DEFAULT,
    FACTS,
    RELEASE_LICENCE,
    RELEASE_URL,
    SIZES,
    pulled_weights,
    shipped_half,
    shipped_weights,
    zoo_names,
)

Action = Annotated[str | None, typer.Argument(metavar="pull", help="Fetch a published model's weights.")]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Which model.")]
From = Annotated[str | None, typer.Option("--from", metavar="URL", help="Pull from this folder, such as a mirror.")]


def models(terminal: Terminal, action: Action = None, name: Name = None, base_url: From = None) -> None:
    """List the models that have names: their size, where their weights are, and how well they do; or pull weights."""
    if action is None and base_url is None:
        rows = [row(name) for name in zoo_names()]
        terminal.result({"models": rows}, lambda console: show(console, rows))
    elif action == "pull" and name is not None:
        with terminal.progress() as progress:
            path = pull(name, base_url or RELEASE_URL, progress)
        terminal.result(
            pulled(name, path), lambda console: console.print(f"{path}\nnext: hgedge build {name}", soft_wrap=True)
        )
    else:
        raise ConfigError("hgedge models takes nothing, or pull and a model's name: hgedge models pull hg2")


def pulled(name: str, path: Path) -> dict[str, Any]:
    """What was pulled, as JSON."""
    size = path.stat().st_size
    return {"name": name, "path": str(path), "bytes": size, "sha256": file_digest(path), "licence": RELEASE_LICENCE}


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
        "pulled": str(weights) if (weights := pulled_weights(name)) else None,
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
            _weights(item),
        )
    console.print(table)
    for data in dict.fromkeys(item["data"] for item in rows):
        _print_data(console, [item for item in rows if item["data"] == data])
    console.print(
        f"\nhgedge build {DEFAULT}\nhgedge models pull NAME, or give a CHECKPOINT.pth, where no weights are shipped",
        soft_wrap=True,
    )


def _weights(item: dict[str, Any]) -> str:
    if item["weights_bytes"]:
        return f"{item['weights_bytes'] / 2**20:.1f} MiB"
    return "pulled" if item["pulled"] else "not shipped"


def _print_data(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print a paragraph of models that share their data."""
    console.print(
        Text("\n").append(", ".join(item["name"] for item in rows), style="bold").append(f": {rows[0]['data']}")
    )
    for item in rows:
        if item["accuracy"]:
            scores = ", ".join(f"{metric} {value:g}" for metric, value in item["accuracy"].items())
            console.print(Text(f"{item['name']}: {scores} ({item['accuracy_source']})"))
