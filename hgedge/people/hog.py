"""OpenCV's own detector of people: gradients of windows of 64 x 128 pixels, and a linear SVM.

It finds people who stand or walk and are seen whole, few others, and now and then what is nobody: no model is needed,
but a network finds far more. A person fills the middle of a window, 16 pixels from each side, so the box is the middle
three quarters of it.

Source: Dalal and Triggs, Histograms of oriented gradients for human detection, CVPR 2005.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import BackendUnavailable
from hgedge.people.overlap import suppressed
from hgedge.pose import Frame
from hgedge.sources.opencv import cv2

WORKING_PX = 640  # longer side of what is searched: people whose height there is below 96 pixels are not found
PERSON_OF_WINDOW = 0.75
LEAST_MARGIN = 0.5  # distance from the SVM's plane: half of what lies between 0 and it is nobody
MOST_OVERLAP = 0.4


class HogDetector:
    """Finds people; scores are distances from the SVM's plane, about 0.5 to 3.

    Raises:
        BackendUnavailable: OpenCV is 5 or later, which has no HOG detector.
    """

    followed = True
    cropped = False

    def __init__(self) -> None:
        if not hasattr(cv2, "HOGDescriptor"):
            raise BackendUnavailable(
                f"--people hog needs OpenCV 4, but this one ({cv2.__version__}) has no HOG detector; install "
                "'opencv-python<5', or give a detector of your own with --people onnx:PATH"
            )
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()))

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """See `hgedge.people.detector.Detector`."""
        frame_wh = np.array(image_bgr.shape[1::-1])
        width, height = np.rint(frame_wh * WORKING_PX / frame_wh.max()).astype(int).tolist()
        if width < self._hog.winSize[0] or height < self._hog.winSize[1]:
            return np.empty((0, 5), np.float32)
        smaller = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
        windows, margins = self._hog.detectMultiScale(
            smaller, hitThreshold=LEAST_MARGIN, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=0
        )
        corners = np.asarray(windows, np.float64).reshape(-1, 4)
        center, size = corners[:, :2] + corners[:, 2:] / 2, PERSON_OF_WINDOW * corners[:, 2:]
        boxes = np.hstack([center - size / 2, center + size / 2]) * np.tile(frame_wh / (width, height), 2) - 0.5
        people = np.column_stack([boxes, np.ravel(margins)]).astype(np.float32)
        return suppressed(people, MOST_OVERLAP)
