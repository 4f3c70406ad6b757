"""A data set of drawn figures in LSPET's layout, for runs that must be quick."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from hgedge.visualization.figures import figure_picture


@pytest.fixture(scope="session")
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    (root / "images").mkdir()
    joints, rows = [], ["row,image,split"]
    for index in range(40):
        picture, keypoints = figure_picture((96, 96), seed=index)
        cv2.imwrite(str(root / "images" / f"{index:03}.png"), picture)
        joints.append(np.column_stack([keypoints, np.ones(14)]))
        rows.append(f"{index},{index:03}.png,{'train' if index < 32 else 'val'}")
    savemat(root / "joints.mat", {"joints": np.stack(joints, axis=-1)})
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root
