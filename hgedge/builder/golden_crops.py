"""What golden inputs show: a photograph in the public domain (hgedge/pictures), and drawn figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge import geometry
from hgedge.runtime.preprocess import crop
from hgedge.sources.images import read_picture
from hgedge.spec import InputSpec
from hgedge.visualization.figures import figure_picture

PHOTOGRAPH = Path(__file__).parent.parent / "pictures" / "astronaut.jpg"
FIGURES = 3


def golden_crops(spec: InputSpec) -> np.ndarray:
    """The golden inputs at a network's input size: (G, H, W, C) uint8."""
    pictures = [read_picture(PHOTOGRAPH)]
    pictures += [figure_picture(spec.hw, seed)[0] for seed in range(FIGURES)]
    crops = np.empty((len(pictures), *spec.hw, spec.channels), np.uint8)
    for picture, out in zip(pictures, crops):
        crop(picture, geometry.frame_from_input(geometry.whole_frame_box(picture.shape[:2]), spec.hw), out)
    return crops
