"""What was measured, a line of JSON each, written as soon as it is known: an interrupted search goes on from there.

A notebook is one file, named after all that decides what is measured: the FP32 graph and every placement's full INT8
graph (so weights, ranges and the way of quantising), backend, its version, the device, the people, hgedge's version.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hgedge
from hgedge import records
from hgedge.budget.candidate import FP32, Subject

FORMAT_VERSION = 1  # counts changes of what is measured, or how

log = logging.getLogger(__name__)

Note = dict[str, Any]


class Notebook:
    """Notes by name; kept in memory alone where the file cannot be written, which is said."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.notes: dict[str, Note] = {} if path is None else _read(path)
        if self.notes:
            log.info("going on from %d measurements in %s", len(self.notes), path)

    def once(self, name: str, measure: Callable[[], Note]) -> Note:
        """What is noted under a name, or what is measured now and noted."""
        if name not in self.notes:
            line = json.dumps({"name": name, "note": measure()})
            self._append(line)
            self.notes[name] = json.loads(line)["note"]
        return self.notes[name]

    def _append(self, line: str) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.warning("what is measured is not kept for next time: %s: %s", self.path, error.strerror)
            self.path = None


def notebook_for(folder: Path, subject: Subject, people: str) -> Notebook:
    """The notebook of a network on some people.

    Args:
        folder: Where notebooks lie.
        subject: The network; its full INT8 graphs are rendered.
        people: `hgedge.budget.people.data_digest`.
    """
    candidates = dict.fromkeys((FP32, subject.asked, *map(subject.full, subject.placements)))
    graphs = [subject.render(candidate).SerializeToString(deterministic=True) for candidate in candidates]
    manifest = subject.manifest
    decides = {
        "hgedge": [hgedge.__version__, FORMAT_VERSION],
        "graphs": [hashlib.sha256(graph).hexdigest() for graph in graphs],
        "placements": subject.placements,
        "manifest": {name: records.to_mapping(getattr(manifest, name)) for name in ("input", "decode", "keypoints")},
        "engine": [records.to_mapping(each) for each in (manifest.backend, manifest.device) if each is not None],
        "batch": manifest.batch,
        "people": people,
    }
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Notebook(folder / f"{manifest.model.name}-{key[:24]}.jsonl")


def _read(path: Path) -> dict[str, Note]:
    """The notes of a file; a line that was cut off by a kill is not one."""
    notes = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            mapping = json.loads(line)
            notes[mapping["name"]] = mapping["note"]
        except (ValueError, KeyError, TypeError):
            log.warning("%s has a line that is not whole; it is measured again", path)
    return notes
