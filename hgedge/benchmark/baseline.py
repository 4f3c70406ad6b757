"""The FP32 baseline that engines are compared with.

Engines of one network, input and decoding share one: FP32 in PyTorch (eager on a CPU), where PyTorch and the very
weights are at hand, and PyTorch runs on the same kind of device; else FP32 on their own backend, built from a bundle's
portable half. Weights are the same where their digest is.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgedge import backends
from hgedge.bundle import file_of, seal
from hgedge.errors import BackendUnavailable, CheckpointError, ConfigError
from hgedge.runtime.golden import GOLDEN, load_golden, measure
from hgedge.spec import BackendInfo, Manifest

if TYPE_CHECKING:
    from hgedge.checkpoints import Checkpoint

log = logging.getLogger(__name__)

TORCH = "torch"
WEIGHTS = "weights.safetensors"  # of an engine of PyTorch
BuildFp32 = Callable[[Path, str, Path], Path]  # (bundle, backend, folder to put it into) -> the bundle that was built


@dataclass(frozen=True)
class Plan:
    """A baseline to be.

    Attributes:
        backend: That runs it.
        members: Bundles that are compared with it.
        weights: For PyTorch; None: it is built from the first member's portable half.
    """

    backend: str
    members: Sequence[Path]
    weights: Checkpoint | None

    def is_met_by(self, manifest: Manifest) -> bool:
        """Whether a member is such an engine itself."""
        return (manifest.precision, backend_of(manifest)) == ("fp32", self.backend)


def baselines(bundles: Mapping[Path, Manifest], checkpoint: str | None) -> Iterator[Plan]:
    """The baselines of some bundles.

    Args:
        bundles: In order.
        checkpoint: The weights of their network, by file or name; by default those that are at hand.

    Raises:
        ConfigError: None of the bundles was made from the checkpoint.
        CheckpointError: It cannot be read.
    """
    named = None if checkpoint is None else _named(checkpoint, bundles)
    for alike in _grouped(bundles, bundles, _what_is_shared):
        weights, why_not = _weights_for_torch(alike, bundles, named)
        if weights is not None:
            yield Plan(TORCH, alike, weights)
            continue
        log.info("the baseline of %s is FP32 on its own backend: %s", bundles[alike[0]].model.name, why_not)
        for members in _grouped(alike, bundles, backend_of):
            yield Plan(backend_of(bundles[members[0]]), members, None)


def build_baseline(plan: Plan, manifest: Manifest, build_fp32: BuildFp32, folder: Path) -> Path:
    """Build a baseline of the first member, whose manifest is given, into a new folder; returns the bundle."""
    folder.mkdir()
    if plan.weights is None:
        return build_fp32(plan.members[0], plan.backend, folder)
    shutil.copyfile(file_of(plan.members[0], manifest, GOLDEN), folder / GOLDEN)
    module = backends.builder(TORCH)
    own = Manifest(
        hgedge_version=manifest.hgedge_version,
        measured=False,
        model=manifest.model,
        precision="fp32",
        backend=BackendInfo(TORCH, module.version()),
        device=backends.device_for(TORCH),
        input=manifest.input,
        keypoints=manifest.keypoints,
        decode=manifest.decode,
        digest=manifest.digest,
        num_convs=manifest.num_convs,
        num_convs_int8=0,
    )
    module.build(folder, own, dataclasses.replace(plan.weights, name=manifest.model.name))
    with closing(backends.sessions(TORCH).load(folder, seal(folder, own))) as session:
        own, golden = measure(session, own, load_golden(folder / GOLDEN))
    golden.save(folder / GOLDEN)
    seal(folder, own)
    return folder


def backend_of(manifest: Manifest) -> str:
    """The name of an engine's backend."""
    return manifest.backend.name if manifest.backend else ""


def _weights_for_torch(
    members: Sequence[Path], bundles: Mapping[Path, Manifest], named: Checkpoint | None
) -> tuple[Checkpoint | None, str]:
    """The weights that some bundles were made from, or why PyTorch cannot be their baseline."""
    manifest = bundles[members[0]]
    try:
        on_gpu = _is_gpu(backends.device_for(TORCH).features)
    except BackendUnavailable:
        return None, "PyTorch is not installed"
    if on_gpu != _runs_on_gpu(manifest):
        return None, f"PyTorch would run on this machine's {'GPU' if on_gpu else 'CPU'}, and it does not"
    if named is not None and named.sha256 == manifest.model.sha256:
        return named, ""
    known = _weights_at_hand(members, bundles)
    if known is None:
        return None, "its weights are not here; --baseline names its checkpoint, to compare with PyTorch"
    if known.sha256 != manifest.model.sha256:
        return None, "it was made from other weights than those of its name; --baseline names its checkpoint"
    return known, ""


def _weights_at_hand(members: Sequence[Path], bundles: Mapping[Path, Manifest]) -> Checkpoint | None:
    """Weights that a bundle of PyTorch carries, or those of a model that has a name."""
    from hgedge.checkpoints import load_checkpoint, resolve
    from hgedge.models.zoo import SIZES

    for folder in members:
        if WEIGHTS in bundles[folder].files:
            return load_checkpoint(file_of(folder, bundles[folder], WEIGHTS))
    name = bundles[members[0]].model.name
    try:
        return resolve(name) if name in SIZES else None
    except CheckpointError:
        return None


def _named(checkpoint: str, bundles: Mapping[Path, Manifest]) -> Checkpoint:
    backends.builder(TORCH)  # says what is missing
    from hgedge.checkpoints import resolve

    found = resolve(checkpoint)
    if all(found.sha256 != manifest.model.sha256 for manifest in bundles.values()):
        made = ", ".join(f"{folder} from {manifest.model.sha256[:12]}" for folder, manifest in bundles.items())
        raise ConfigError(
            f"--baseline {checkpoint} must be what the bundles were made from, but its weights are "
            f"{found.sha256[:12]} ({made}); name their checkpoint, or leave --baseline out"
        )
    return found


def _what_is_shared(manifest: Manifest) -> Any:
    """By engines that are compared with the same baseline."""
    return manifest.model.sha256, manifest.model.num_stacks, manifest.input, manifest.decode, _runs_on_gpu(manifest)


def _runs_on_gpu(manifest: Manifest) -> bool:
    return manifest.device is not None and _is_gpu(manifest.device.features)


def _is_gpu(features: Sequence[str]) -> bool:
    return any(feature.startswith("sm_") for feature in features)


def _grouped(
    folders: Iterable[Path], bundles: Mapping[Path, Manifest], key: Callable[[Manifest], Any]
) -> list[list[Path]]:
    """Bundles with the same key together, in order."""
    groups: dict[Any, list[Path]] = {}
    for folder in folders:
        groups.setdefault(key(bundles[folder]), []).append(folder)
    return list(groups.values())
