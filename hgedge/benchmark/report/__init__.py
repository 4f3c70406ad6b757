"""The document of a bench as files: JSON, CSV, Markdown, and a page in one file with plots."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hgedge.benchmark.report import csv, markdown
from hgedge.errors import ConfigError
from hgedge.evaluation.outputs import whole_file

Document = Mapping[str, Any]


def _json(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _html(document: Document) -> str:
    from hgedge.benchmark.report.html import page

    return page(document)


FORMATS: dict[str, Callable[[Document], str]] = {
    ".html": _html,
    ".md": markdown.text,
    ".csv": csv.text,
    ".json": _json,
}


@contextmanager
def report_files(targets: Sequence[Path]) -> Iterator[Callable[[Document], None]]:
    """What writes a document into files, by their endings; at the end all of them are whole, or none is there.

    Raises:
        ConfigError: A file has another ending, cannot be written, or is named twice.
        ModuleNotFoundError: A page is asked for, and matplotlib is not installed.
    """
    if len({target.resolve() for target in targets}) < len(targets):
        raise ConfigError(f"each file of --report must have its own name, but got {', '.join(map(str, targets))}")
    if any(target.suffix.lower() == ".html" for target in targets):
        importlib.import_module("matplotlib")  # before anything is measured
    with ExitStack() as stack:
        partial = {target: stack.enter_context(whole_file(target, tuple(FORMATS))) for target in targets}

        def write(document: Document) -> None:
            for target, path in partial.items():
                path.write_text(FORMATS[target.suffix.lower()](document), encoding="utf-8")

        yield write
