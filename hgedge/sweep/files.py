"""What a sweep leaves in its folder: the document, a table, a picture, a page, and a recipe for each recommendation."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hgedge import records
from hgedge.errors import ConfigError
from hgedge.sinks.partial import partial_file, put_in_place
from hgedge.sweep.grid import size_text
from hgedge.sweep.loop import Outcome
from hgedge.sweep.page import page
from hgedge.sweep.plot import plot
from hgedge.sweep.recommend import Recommendation, figures, recipe_text

COLUMNS = ("num_stacks", "input", "precision", "placement", "latency_ms_p50", "accuracy", "low", "high", "pareto")


@contextmanager
def ready(folder: Path) -> Iterator[None]:
    """Make sure that a folder can be written before hours of work; it is gone again where nothing comes of them.

    Raises:
        ConfigError: It cannot.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(f"cannot write to {folder}: {error.strerror}; choose another --output") from error
        yield
    finally:
        for each in new:
            with suppress(OSError):  # it is not empty, as it should be
                each.rmdir()


def save(folder: Path, outcome: Outcome, recommended: Sequence[Recommendation]) -> dict[str, Any]:
    """Write all files, each whole or not at all; returns the document with recommendations and their recipes."""
    document = {**outcome.document, "recommendations": [_told(folder, each) for each in recommended]}
    for hw, table in outcome.tables.items():
        _write(folder / _table_name(hw), table)
    for each in recommended:
        path = folder / each.file
        if each.row is None:
            path.unlink(missing_ok=True)  # of an earlier sweep
        else:
            _write(path, _recipe(folder, outcome, each))
    _write(folder / "sweep.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    _write(folder / "sweep.csv", table_text(document["rows"]))
    partial = partial_file(folder / "sweep.png")
    try:
        plot(partial, document)
        _write(folder / "sweep.html", page(document, partial.read_bytes()))
        put_in_place(partial, folder / "sweep.png")
    finally:
        partial.unlink(missing_ok=True)
    return document


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, **row.get("interval", {}), "input": size_text(tuple(row["input_hw"]))})
    return file.getvalue()


def _told(folder: Path, each: Recommendation) -> dict[str, Any]:
    found = records.to_mapping(each)
    return {**found, "recipe": None if each.row is None else str(folder / found["file"])}


def _recipe(folder: Path, outcome: Outcome, each: Recommendation) -> str:
    document, place = outcome.document, each.row or 0
    options, row = outcome.options[place], document["rows"][place]
    if options.precision == "int8" and tuple(row["input_hw"]) in outcome.tables:
        options = dataclasses.replace(options, calibration=folder / _table_name(tuple(row["input_hw"])))
    machine, latency = document["environment"], document["latency"]
    noise = "; other processes may have taken the CPU meanwhile" if latency["noise_allowed"] else ""
    comments = (
        f"Written by hgedge sweep: {each.wish}, of {len(document['rows'])} candidates on {document['backend']}.",
        f"{figures(row)}.",
        f"{document['metrics']['loose']} of {document['num_people']} people of {document['data']} "
        f"{document['split']!r}; intervals are of 95 %.",
        f"Timed on {machine['device']['name']}, {machine['cores']} cores, from picture to keypoints{noise}.",
        f"sha256 of its model.onnx: {row['model_onnx_sha256']}",
    )
    return recipe_text(options, comments)


def _table_name(hw: tuple[int, int]) -> str:
    return f"ranges-{size_text(hw)}.json"


def _write(path: Path, text: str) -> None:
    partial = partial_file(path)
    try:
        partial.write_text(text, encoding="utf-8")
        put_in_place(partial, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; choose another --output") from error
    finally:
        partial.unlink(missing_ok=True)
