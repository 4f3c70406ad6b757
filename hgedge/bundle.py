"""A bundle: one folder that carries all an engine needs. Here it is read and checked; `hgedge.staging` writes it.

The portable half is `source.onnx` (FP32, rewritten), `model.onnx` (the graph that the engine was built from),
`calibration.json` (ranges, if quantised), `golden.npz` and `manifest.json`; the rest is the engine's own. A bundle is
written under a temporary name and renamed into place: one that exists is whole; its manifest holds every file's hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from pathlib import Path
from typing import Any

from hgedge import records
from hgedge.errors import EngineMismatch
from hgedge.spec import BackendInfo, DecodeSpec, DeviceInfo, Manifest, manifest_from_json

MANIFEST = "manifest.json"


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
        missing = "is a file, not a bundle's folder" if folder.exists() else "does not exist"
        what = "has no manifest.json, so it is no bundle" if folder.is_dir() else missing
        raise EngineMismatch(f"{folder} {what}; make one with: hgedge build")
    return manifest_from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def open_bundle(folder: Path) -> Manifest:
    """Read a bundle's manifest and check that every file that it names is there and unchanged.

    Raises:
        EngineMismatch: The folder is no bundle, or a file is missing, changed, or lies outside of it.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if "\0" in name or path.resolve().parent != folder.resolve():
            raise EngineMismatch(
                f"{folder / MANIFEST} names {name!r}, which lies outside the bundle; {rebuild(manifest)}"
            )
        if not path.is_file():
            raise EngineMismatch(f"{folder} lacks {name}, which its manifest names; {rebuild(manifest)}")
        if file_digest(path) != expected:
            raise EngineMismatch(f"{path} is not the file that was built: its sha256 differs; {rebuild(manifest)}")
    return manifest


def file_of(folder: Path, manifest: Manifest, name: str) -> Path:
    """A file of a bundle whose hashes hold, if its hash is among them.

    Raises:
        EngineMismatch: It is not.
    """
    if name not in manifest.files:
        raise EngineMismatch(f"{folder / MANIFEST} does not tell the hash of {name}; {rebuild(manifest)}")
    return folder / name


def engine_of(folder: Path, manifest: Manifest) -> tuple[BackendInfo, DeviceInfo]:
    """What a bundle's engine was built with, and for.

    Raises:
        EngineMismatch: There is no engine in it.
    """
    if manifest.backend is None or manifest.device is None:
        raise EngineMismatch(f"{folder} is a portable half without an engine; make one with: hgedge build {folder}")
    return manifest.backend, manifest.device


def check_fits(folder: Path, manifest: Manifest, here: DeviceInfo) -> None:
    """Check that a bundle's engine was built for a processor and a system like these.

    Raises:
        EngineMismatch: It was not, or there is none.
    """
    _, built = engine_of(folder, manifest)
    missing = set(built.features) - set(here.features)
    if missing or (built.system, built.architecture) != (here.system, here.architecture):
        lacks = f" without {', '.join(sorted(missing))}" if missing else ""
        raise EngineMismatch(
            f"{folder} was built for {built.name} ({built.system}, {built.architecture}), but this machine has "
            f"{here.name} ({here.system}, {here.architecture}){lacks}; {rebuild(manifest, folder)}"
        )


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


def rebuild(manifest: Manifest, folder: Path | None = None) -> str:
    """The command that makes a bundle again.

    Args:
        manifest: Of the bundle.
        folder: The bundle, if its portable half can be built from; None: it is damaged.
    """
    words = ["hgedge", "build", str(folder) if folder else "default" if manifest.model.name == "default" else "MODEL"]
    words += ["--precision", manifest.precision]
    if manifest.backend is not None:
        words += ["--backend", manifest.backend.name]
    if manifest.calibration is not None and manifest.calibration.placement != "stream":
        words += ["--placement", manifest.calibration.placement]
    if manifest.calibration is not None and manifest.calibration.float_groups:
        words += ["--float-groups", ",".join(manifest.calibration.float_groups)]
    if manifest.decode.refinement != DecodeSpec.refinement:
        words += ["--refinement", manifest.decode.refinement]
    if manifest.batch != (1,):
        words += ["--batch", ",".join(map(str, manifest.batch))]
    words += manifest.engine_options.arguments
    if folder is not None and folder.resolve().parent != Path("engines").resolve():
        words += ["--output", str(folder.parent)]
    return f"rebuild: {shlex.join(words)} --force"
