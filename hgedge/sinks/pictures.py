"""Pictures into one file, or into a folder under their own names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from hgedge.errors import ConfigError, SourceError
from hgedge.sinks.partial import partial_file, partial_folder, put_in_place
from hgedge.sources.opencv import cv2

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class PictureSink:
    """One picture, if the path ends like one, else a folder of them.

    Nothing stands at the path until the `with` block ends; after an exception (other than Ctrl-C) nothing ever does,
    unless it is to be kept. A folder that is already there keeps its other files.

    Args:
        path: The picture or folder.
        keep: Keep what there is after an exception too.

    Raises:
        ConfigError: The path cannot be written to, or its extension is none of a picture.
    """

    def __init__(self, path: Path | str, keep: bool = False) -> None:
        self.path, self._keep = Path(path), keep
        self._single = is_picture_name(self.path) and not self.path.is_dir()
        if not self._single and self.path.suffix and not self.path.is_dir():
            raise ConfigError(
                f"{self.path} has an extension of no picture: known are {' '.join(EXTENSIONS)}; "
                "a name without extension makes a folder"
            )
        self._partial = partial_file(self.path) if self._single else partial_folder(self.path)
        self._names: set[str] = set()
        self._count = 0

    def write(self, image: np.ndarray, name: str = "") -> None:
        """Add a picture.

        Args:
            image: (H, W, 3) uint8, BGR.
            name: Its file name in a folder, as `Frame.name`; without one it is called after its position.

        Raises:
            ConfigError: A second picture for a single file.
            SourceError: The picture cannot be encoded or the disk is full.
        """
        if self._single and self._count:
            raise ConfigError(f"{self.path} holds one picture, but more came; give a folder or a video's name instead")
        target = self._partial if self._single else self._partial / self._free_name(name)
        try:
            ok, data = cv2.imencode(target.suffix, image)
            if not ok:
                raise SourceError(f"{self.path}: OpenCV cannot encode a picture as {target.suffix}")
            target.write_bytes(data.tobytes())
        except (OSError, cv2.error) as error:
            target.unlink(missing_ok=True)
            self._names.discard(target.name)
            raise SourceError(f"{self.path} cannot be written: {error}") from error
        self._count += 1

    def __enter__(self) -> PictureSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if self._count and (self._keep or kind in (None, KeyboardInterrupt)):
                self._finish()
        finally:
            if self._single:
                self._partial.unlink(missing_ok=True)
            else:
                shutil.rmtree(self._partial, ignore_errors=True)

    def _finish(self) -> None:
        if self._single or not self.path.exists():
            put_in_place(self._partial, self.path)
            return
        for name in sorted(self._names):
            put_in_place(self._partial / name, self.path / name)

    def _free_name(self, name: str) -> str:
        """The name with an extension that can be written, numbered if it is taken: folders of folders repeat names."""
        wanted = Path(Path(name).name or f"{self._count:06d}.jpg")
        suffix = wanted.suffix if is_picture_name(wanted) else ".jpg"
        free, number = wanted.stem + suffix, 1
        while free in self._names:
            number += 1
            free = f"{wanted.stem}-{number}{suffix}"
        self._names.add(free)
        return free


def is_picture_name(path: Path) -> bool:
    """Whether a file of this name can be written as a picture."""
    return path.suffix.lower() in EXTENSIONS
