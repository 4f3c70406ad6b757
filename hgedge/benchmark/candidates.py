"""Which engines are measured side by side: those that the user names, and for each the baseline it is compared with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hgedge.benchmark.baseline import BuildFp32, backend_of, baselines, build_baseline
from hgedge.bundle import MANIFEST, open_bundle, read_manifest
from hgedge.errors import ConfigError, EngineMismatch, HgedgeError
from hgedge.runtime.golden import GOLDEN
from hgedge.runtime.pipeline import check_fits_here
from hgedge.spec import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """An engine to measure.

    Attributes:
        name: What reports call it; its own in a run.
        folder: Its bundle.
        manifest: As it was when the run began.
        given: Whether the user named it; else it was made to compare with.
        baseline: Name of what it is compared with; a baseline's own name.
    """

    name: str
    folder: Path
    manifest: Manifest
    given: bool
    baseline: str

    @property
    def is_baseline(self) -> bool:
        """Whether others are compared with it."""
        return self.baseline == self.name

    def check_unchanged(self) -> None:
        """Check that the bundle is still the one that is measured; its first load may have noted in it what it gave.

        Raises:
            EngineMismatch: It went away or changed meanwhile.
        """
        advice = "run it again once nothing builds or moves it"
        try:
            files = open_bundle(self.folder).files
        except EngineMismatch as error:
            raise EngineMismatch(f"{self.folder} changed while it was measured: {error}; {advice}") from error
        if any(files.get(name) != digest for name, digest in self.manifest.files.items() if name != GOLDEN):
            raise EngineMismatch(f"{self.folder} was replaced while it was measured; {advice}")


def open_bundles(folders: Sequence[Path], parent: Path) -> dict[Path, Manifest]:
    """The bundles to measure, each once; without any named, those in a folder that fit this machine.

    Raises:
        EngineMismatch: One is not whole, or does not fit this machine.
        BackendUnavailable: The backend of one cannot run here.
        ConfigError: None is named, and none in the folder fits.
    """
    each = {folder.resolve(): folder for folder in reversed(folders or list(_fitting(parent)))}
    found = {folder: open_bundle(folder) for folder in reversed(each.values())}
    for folder, manifest in found.items():
        check_fits_here(folder, manifest)
    if not found:
        raise ConfigError(f"no bundle is named, and none in {parent} fits this machine; make one with: hgedge build")
    return found


def _fitting(parent: Path) -> Iterator[Path]:
    for path in sorted(parent.glob(f"*/{MANIFEST}")):
        try:
            check_fits_here(path.parent, read_manifest(path.parent))
        except HgedgeError as error:
            log.info("left out: %s", error)
        else:
            yield path.parent


def candidates_of(
    bundles: Mapping[Path, Manifest], checkpoint: str | None, build_fp32: BuildFp32, work: Path
) -> list[Candidate]:
    """The engines in the order of reports: each baseline, then what is compared with it.

    Args:
        bundles: What the user named.
        checkpoint: Weights of their network for PyTorch, by file or name; by default those that are at hand.
        build_fp32: Builds on an engine's own backend.
        work: A temporary folder, for baselines that are built.

    Raises:
        ConfigError: None of the bundles was made from the checkpoint.
        CheckpointError: It cannot be read.
    """
    names = _names(bundles)
    found: list[Candidate] = []
    for plan in baselines(bundles, checkpoint):
        own = next((path for path in plan.members if plan.is_met_by(bundles[path])), None)
        folder = own or build_baseline(plan, bundles[plan.members[0]], build_fp32, work / str(len(found)))
        manifest = open_bundle(folder)
        name = names[own] if own else _free(_title(manifest), {*names.values(), *(known.name for known in found)})
        found.append(Candidate(name, folder, manifest, own is not None, name))
        found += [Candidate(names[path], path, bundles[path], True, name) for path in plan.members if path != own]
    return found


def _names(bundles: Iterable[Path]) -> dict[Path, str]:
    """A name a bundle: its folder's, or where others are called the same, its whole path."""
    names = {folder: folder.resolve().name for folder in bundles}
    times = Counter(names.values())
    return {folder: name if times[name] == 1 else str(folder) for folder, name in names.items()}


def _title(manifest: Manifest) -> str:
    backend = backend_of(manifest)
    return f"{manifest.model.name} FP32, {'PyTorch' if backend == 'torch' else backend}"


def _free(name: str, taken: set[str]) -> str:
    """A name that nothing else has."""
    return name if name not in taken else _free(f"{name}'", taken)
