"""Candidates as bundles: what `hgedge build` makes of their recipes, but for what they share, which is made once.

Candidates of the same stacks and size share an export, as the portable half that they are built from; those of the
same size share ranges. Engines of PyTorch are built from the checkpoint. `model.onnx` is the same either way.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from hgedge.budget.notebook import Note, Notebook
from hgedge.builder import BuildOptions, build, calibration
from hgedge.builder.network import network_of
from hgedge.builder.options import ONNX_ONLY
from hgedge.models.zoo import DEFAULT, SIZES
from hgedge.progress import Progress, no_progress
from hgedge.quantization.ranges import naming_version, table_key
from hgedge.sweep.grid import Candidate, size_text
from hgedge.sweep.model import Model
from hgedge.sweep.ranges import Ranges


class Workshop:
    """Builds candidates in a temporary folder; a context manager.

    Args:
        model: What they are built of.
        ranges: Of every size with an INT8 candidate.
        most_stacks: The largest number among the candidates; their ranges serve fewer.
        notebook: Remembers ranges.
        progress: Told about pictures and engines.
    """

    def __init__(
        self,
        model: Model,
        ranges: dict[tuple[int, int], Ranges],
        most_stacks: int,
        notebook: Notebook,
        progress: Progress = no_progress,
    ) -> None:
        self.model, self.ranges, self.most_stacks = model, ranges, most_stacks
        self.notebook, self.progress = notebook, progress
        self._bundles: dict[Candidate, Path] = {}
        self._half: tuple[str, BuildOptions] | None = None

    def __enter__(self) -> Workshop:
        self._temporary = tempfile.TemporaryDirectory(prefix="hgedge-sweep-")
        self.folder = Path(self._temporary.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def bundle(self, candidate: Candidate) -> Path:
        """A candidate's bundle, built if it is not there."""
        if candidate not in self._bundles:
            table = self.table(candidate.input_hw) if candidate.precision == "int8" else None
            options = dataclasses.replace(
                self._start(candidate), calibration=table, output=self.folder / candidate.name.replace(" ", "-")
            )
            with _quietly():
                self._bundles[candidate] = build(options, self.progress).bundle
        return self._bundles[candidate]

    def keep(self, wanted: Collection[Candidate]) -> None:
        """Free the disk of all other bundles."""
        for candidate in self._bundles.keys() - wanted:
            shutil.rmtree(self._bundles.pop(candidate).parent)

    def table(self, hw: tuple[int, int]) -> Path:
        """The file of a size's ranges."""
        path = self.folder / f"ranges-{size_text(hw)}.json"
        if not path.exists():
            note = self.notebook.once(f"ranges {self.ranges[hw].key}", lambda: self._ranges(hw))
            path.write_text(note["table"], encoding="utf-8")
        return path

    def _ranges(self, hw: tuple[int, int]) -> Note:
        source = self.ranges[hw].source
        if isinstance(source, calibration.CalibrationTable):
            return {"table": source.table.to_json()}
        with _quietly():
            network = network_of(self._start(Candidate(self.most_stacks, hw, "int8", "stream")))
            graph = network.graph()
        key = table_key(network.sha256, network.input, naming_version(graph))
        return {"table": calibration.ranges_for(source, key, graph, network.input, self.progress).to_json()}

    def _start(self, candidate: Candidate) -> BuildOptions:
        """The options of a candidate's build, from a portable half if there is an export to share."""
        options = self.model.options_for(candidate)
        model = options.model or DEFAULT
        if options.backend == "torch" or (model not in SIZES and Path(model).is_dir()):
            return options
        where = f"{candidate.num_stacks}-{size_text(candidate.input_hw)}"
        if self._half is None or self._half[0] != where:
            self._half = (where, self._exported(options, where))
        kinds: dict[str, Any] = {name: getattr(options, name) for name in ("precision", "placement", "float_groups")}
        return dataclasses.replace(self._half[1], **kinds)

    def _exported(self, options: BuildOptions, where: str) -> BuildOptions:
        """Build a portable half in place of the last; returns the options to build from it."""
        output = self.folder / "halves"
        shutil.rmtree(output, ignore_errors=True)
        alone: dict[str, Any] = {
            "precision": "fp32",
            "placement": None,
            "float_groups": None,
            "backend": "auto",
            "engine": False,
        }
        with _quietly():
            half = build(dataclasses.replace(options, **alone, output=output / where), self.progress).bundle
        asked: dict[str, Any] = dict.fromkeys((*ONNX_ONLY, "num_stacks", "input_hw"))
        return dataclasses.replace(options, **asked, model=str(half))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a line for every step of every build."""
    logger = logging.getLogger("hgedge")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
