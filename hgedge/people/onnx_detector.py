"""A detector of the user's own: an ONNX file that ONNX Runtime runs on the CPU.

Detectors count pixels by their edges: pixel i covers [i, i + 1]. The picture is scaled until it fits into the input
and surrounded by grey (114), the way back is exact, half a pixel included:

    input = (frame + 0.5) * scale + offset,    scale = size of the picture in the input / size of the frame
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.people.onnx_formats import Outputs, recognise
from hgedge.people.overlap import suppressed
from hgedge.pose import Frame
from hgedge.sources.opencv import cv2

FREE_HW = (640, 640)  # of an input that leaves its size open: what these detectors are trained on
GREY = 114
LEAST_SCORE = 0.3
MOST_OVERLAP = 0.6
MOST_PEOPLE = 300
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
ERRORS_ALONE = 3


class OnnxDetector:
    """Finds people; scores are the detector's own, 0.3 to 1.

    Attributes:
        format: What it was recognised as, when opened, by one run on a grey picture.

    Raises:
        BackendUnavailable: ONNX Runtime is not here.
        ConfigError: There is no such file, or it is none of the detectors that are understood.
    """

    followed = True
    cropped = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = _open(path)
        self._input, self._type, input_hw = self._check_input()
        grey = np.full((1, 3, *input_hw), GREY / 255, self._type)
        outputs = self._run(grey)
        try:
            self.format = recognise(outputs, input_hw, path)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        self._people(outputs)

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """See `hgedge.people.detector.Detector`.

        Raises:
            ConfigError: A box is not finite, or a score not between 0 and 1.
        """
        input_hw = self.format.input.hw
        picture, scale, offset = letterbox(image_bgr, input_hw, self.format.centered)
        people = self._people(self._run(self._normalised(picture)))
        found = people[~(people[:, 4] < LEAST_SCORE)]  # NaN is kept, and told
        if not np.isfinite(found).all() or (found[:, 4] > 1 + 1e-3).any():
            raise ConfigError(
                f"{self.path} must give finite boxes with scores of 0 to 1, but gave {_first_odd(found)} in frame "
                f"{frame.index} (read as {self.format.name}); export it in float32, with its sigmoid"
            )
        found[:, :4] = (found[:, :4] - np.tile(offset, 2)) / np.tile(scale, 2) - 0.5
        found = found[(found[:, 2:4] > found[:, :2]).all(axis=1)]
        surest = found[np.argsort(-found[:, 4], kind="stable")][:MOST_PEOPLE]
        return suppressed(surest.astype(np.float32), MOST_OVERLAP)

    def _people(self, outputs: Outputs) -> np.ndarray:
        """(N, 5) float64 corners in pixels of the input, and scores; not only of people who are there."""
        try:
            boxes, scores = self.format.decode(outputs)
            return np.column_stack([boxes, scores]).astype(np.float64)
        except ValueError as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise ConfigError(
                f"{self.path}: outputs must hold as many scores and labels as boxes, but are {shapes}"
            ) from error

    def _normalised(self, picture: np.ndarray) -> np.ndarray:
        """(1, 3, H, W) as the detector wants it, of (H, W, 3) uint8 BGR."""
        spec = self.format.input
        planes = picture.transpose(2, 0, 1)[:: -1 if spec.color == "rgb" else 1].astype(np.float32)
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
        planes *= 1 / (255 * std)
        planes -= mean / std
        return planes[None].astype(self._type, copy=False)

    def _run(self, planes: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, map(np.asarray, self._session.run(names, {self._input: planes}))))
        except Exception as error:  # the library raises types of its own
            raise ConfigError(
                f"{self.path}: ONNX Runtime cannot run it on {planes.shape} {planes.dtype}: {error}"
            ) from error

    def _check_input(self) -> tuple[str, Any, tuple[int, int]]:
        """Name, type and (H, W) of its only input."""
        inputs = self._session.get_inputs()
        found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        shape = inputs[0].shape if len(inputs) == 1 else []
        fits = len(shape) == 4 and shape[1] == 3 and (shape[0] == 1 or not isinstance(shape[0], int))
        if not fits or inputs[0].type not in TYPES:
            raise ConfigError(
                f"{self.path} must have one input, (1, 3, H, W) float32 or float16, but has {found}; export it so"
            )
        height, width = (size if isinstance(size, int) else free for size, free in zip(shape[2:], FREE_HW))
        return inputs[0].name, TYPES[inputs[0].type], (height, width)


def letterbox(
    image_bgr: np.ndarray, input_hw: tuple[int, int], centered: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale a picture until it just fits, its shape kept to a pixel, on grey.

    Returns:
        picture: (H, W, 3) uint8.
        scale: (2,) x and y: pixels of the picture a pixel of the frame; they differ where a side is rounded.
        offset: (2,) x and y: pixels left of the picture and above it.
    """
    frame_wh, input_wh = np.array(image_bgr.shape[1::-1]), np.array(input_hw[::-1])
    size = np.maximum(np.rint(frame_wh * (input_wh / frame_wh).min()), 1).astype(int)
    left, top = offset = (input_wh - size) // 2 if centered else np.zeros(2, int)
    picture = np.full((*input_hw, 3), GREY, np.uint8)
    picture[top : top + size[1], left : left + size[0]] = cv2.resize(image_bgr, size.tolist())
    return picture, size / frame_wh, offset


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            f"--people onnx:{path} needs ONNX Runtime, but it is not here ({error}); install it with: "
            "pip install 'hgedge[onnxruntime]'"
        ) from error
    if not path.is_file():
        raise ConfigError(f"no such file: {path}; --people onnx:PATH names the ONNX file of a detector")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = ERRORS_ALONE
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises types of its own
        raise ConfigError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error


def _first_odd(found: np.ndarray) -> str:
    odd = found[~np.isfinite(found).all(axis=1) | (found[:, 4] > 1)][0]
    return f"the box {odd[:4].round(2).tolist()} with score {odd[4]:.3g}"
