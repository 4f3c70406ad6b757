"""`hgedge inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from hgedge import bundle as bundles
from hgedge.cli import options
from hgedge.cli.terminal import Terminal


def inspect(terminal: Terminal, bundle: options.Bundle) -> None:
    """Say what a bundle is, after checking that it is whole."""
    document = bundles.inspect(bundle)
    terminal.result(document, lambda console: show(console, document))


def show(console: Console, document: Mapping[str, Any]) -> None:
    """Print a manifest as a table of two columns."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for key, value in document.items():
        if key != "files":  # their hashes; sizes are under bytes
            table.add_row(key, _text(value))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join("-".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or "-"
    return "-" if value is None else str(value)
