"""A bundle: one folder that carries all an engine needs.

The portable half is `source.onnx` (FP32, rewritten), `model.onnx` (the graph that the engine was built from),
`calibration.json` (ranges, if quantised), `golden.npz` and `manifest.json`; the rest is the engine's own. A bundle is
written under a temporary name and renamed into place: one that exists is whole; its manifest holds every file's hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hgedge import device, records
from hgedge.errors import ConfigError, EngineMismatch
from hgedge.spec import BackendInfo, Manifest, manifest_from_json

MANIFEST = "manifest.json"
PORTABLE = ("source.onnx", "model.onnx", "calibration.json", "golden.npz")


def file_digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest without looking at its files.

    Raises:
        EngineMismatch: The folder is no bundle, or its manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "has no manifest.json, so it is no bundle" if folder.is_dir() else "does not exist"
        raise EngineMismatch(f"{folder} {what}; make one with: hgedge build")
    return manifest_from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def open_bundle(folder: Path) -> Manifest:
    """Read a bundle's manifest and check that every file in it is there and unchanged.

    Raises:
        EngineMismatch: The folder is no bundle, or a file is missing, changed, or lies outside of it.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if path.resolve().parent != folder.resolve():
            raise EngineMismatch(
                f"{folder / MANIFEST} names {name!r}, which lies outside the bundle; rebuild the bundle"
            )
        if not path.is_file():
            raise EngineMismatch(f"{folder} lacks {name}, which its manifest names; {_rebuild(manifest)}")
        if file_digest(path) != expected:
            raise EngineMismatch(f"{path} is not the file that was built: its sha256 differs; {_rebuild(manifest)}")
    return manifest


def check_fits(folder: Path, manifest: Manifest) -> BackendInfo:
    """Check that a bundle's engine was built for a processor like this one; returns what it was built with.

    Raises:
        EngineMismatch: There is no engine in it, or it was built for another processor.
    """
    if manifest.backend is None or manifest.device is None:
        raise EngineMismatch(f"{folder} is a portable half without an engine; make one with: hgedge build {folder}")
    here = device.cpu()
    missing = set(manifest.device.features) - set(here.features)
    if manifest.device.architecture != here.architecture or missing:
        lacks = f" without {', '.join(sorted(missing))}" if missing else ""
        raise EngineMismatch(
            f"{folder} was built on {manifest.device.name} ({manifest.device.architecture}), but this machine is "
            f"{here.name} ({here.architecture}){lacks}; {_rebuild(manifest, folder)}"
        )
    return manifest.backend


@contextmanager
def staged(target: Path, force: bool) -> Iterator[Path]:
    """A temporary folder beside a bundle-to-be that becomes it when the block ends without an error.

    Args:
        target: The bundle's folder.
        force: Replace a bundle that already has this name.

    Raises:
        ConfigError: The name is taken, or the parent cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ConfigError(f"cannot write to {target.parent}: {error.strerror}; choose another --output") from error
    try:
        staging.chmod(0o755)
        yield staging
        _sync(staging)
        if force and target.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            os.replace(target, replaced / "old")
            os.replace(staging, target)
            shutil.rmtree(replaced)
        else:
            os.rename(staging, target)
    except OSError as error:
        if target.exists() and not force:
            raise ConfigError(f"{target} has been made by someone else meanwhile; use --force to replace it") from error
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with the hash of every file in the folder; returns what was written."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    sealed = dataclasses.replace(manifest, files=files)
    (folder / MANIFEST).write_text(sealed.to_json(), encoding="utf-8")
    return sealed


def inspect(folder: Path) -> dict[str, Any]:
    """What a bundle is: its manifest, and the size of each file in bytes.

    Raises:
        EngineMismatch: The folder is no bundle, or not whole.
    """
    manifest = open_bundle(folder)
    sizes = {name: (folder / name).stat().st_size for name in manifest.files}
    return {"bundle": str(folder), **records.to_mapping(manifest), "bytes": sizes}


def _sync(folder: Path) -> None:
    """Have every file on the disk before the rename says that the bundle is whole."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _rebuild(manifest: Manifest, folder: Path | None = None) -> str:
    """The command that makes this bundle again."""
    source = folder or (manifest.model.name if manifest.model.name == "default" else "MODEL")
    backend = f" --backend {manifest.backend.name}" if manifest.backend else ""
    return f"rebuild: hgedge build {source} --precision {manifest.precision}{backend} --force"
