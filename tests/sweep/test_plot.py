"""The picture: labels cover neither one another nor dots."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs Matplotlib: pip install 'hgedge[train]'")

from matplotlib.transforms import Bbox

from hgedge.sweep.page import page
from hgedge.sweep.plot import plot, spot

CANVAS = Bbox.from_bounds(0, 0, 1200, 800)
LABEL = (90.0, 14.0)


def document(count):
    draw = np.random.default_rng(0)
    rows = [
        {
            "name": f"{1 + place % 3} stacks 192x192 fp32",
            "num_stacks": 1 + place % 3,
            "input_hw": [192, 192],
            "precision": "fp32",
            "placement": None,
            "latency_ms_p50": float(ms),
            "accuracy": 60 + 5 * float(np.log(ms)),
            "interval": {"low": 55.0, "high": 80.0},
            "below_best": {"points": 1.0, "low": 0.0, "high": 2.0},
            "ratio_to_baseline": 1.0,
            "pareto": True,
        }
        for place, ms in enumerate(draw.uniform(2, 40, count))
    ]
    rows.append({"name": "1 stack 64x64 bf16", "accuracy": None, "pareto": False, "failed": "no <kernel>"})
    return {
        "model": "a & b", "backend": "openvino", "data": "lspet", "split": "val", "num_people": 9, "rows": rows,
        "metrics": {"loose": "PCK@0.2 pooled"}, "environment": {"device": {"name": "CPU"}, "cores": 2},
        "latency": {"noise_allowed": False, "how": "Timed.", "baseline": {"name": "x", "latency_ms": {"p50": 9.0}}},
        "remarks": [], "recommendations": [{"wish": "best under 9 ms", "said": "none", "recipe": None}],
    }  # fmt: skip


def test_labels_of_a_crowd_overlap_nothing():
    dots = [tuple(dot) for dot in np.random.default_rng(1).uniform((200, 150), (700, 500), (32, 2))]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in dots]
    for dot in dots:
        taken.append(spot(dot, LABEL, taken, CANVAS))
    labels = taken[len(dots) :]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(labels, 2))
    assert not any(label.overlaps(dot) for label in labels for dot in taken[: len(dots)])
    assert all(CANVAS.containsx(x) and CANVAS.containsy(y) for label in labels for x, y in label.corners())


def test_label_in_a_corner_stays_inside():
    found = spot((1199.0, 799.0), LABEL, [], CANVAS)
    assert found.x1 <= 1200 and found.y1 <= 800


@pytest.mark.parametrize("count", [1, 24])
def test_picture_and_page(tmp_path, count):
    told = document(count)
    plot(tmp_path / "sweep.png", told)
    picture = (tmp_path / "sweep.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    html = page(told, picture)
    assert html.count("<tr class=front>") == count and "a &amp; b on openvino" in html
    assert "1 stack 64x64 bf16: no &lt;kernel&gt;" in html
    assert "http" not in html and 'src="data:image/png;base64,' in html, "the page needs other files"
