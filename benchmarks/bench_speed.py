"""hg2 at 256x256, batch 1: INT8 on OpenVINO against the FP32 baseline, from a photograph in memory to keypoints.

The baseline is what `hgedge evaluate` runs: eager PyTorch, whose crops come channels last. PyTorch as its users mostly
run it, channels first, takes a third longer: `bench_peers.py` has both.
"""

import cv2
import numpy as np
import pytest

from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.evaluation.evaluate import pipeline_of
from hgedge.runtime.pipeline import load

ROUNDS = 60


@pytest.fixture(scope="module")
def photograph(lspet):
    return cv2.imread(str(lspet / "images" / "im00003.jpg"))


@pytest.fixture(scope="module")
def engine(hg2_int8):
    with load(hg2_int8.bundle) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def baseline(hg2):
    with pipeline_of(str(hg2)) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def samples(engine, baseline, photograph):
    crops = np.zeros((1, *engine.input.hw, 3), np.uint8)
    return interleaved(
        {
            "torch fp32, channels last, end to end": lambda: baseline(photograph),
            "openvino int8, end to end": lambda: engine(photograph),
            "openvino int8, engine alone": lambda: engine.session.run(crops),
        },
        rounds=ROUNDS,
        pause_s=0.01,
    )


def test_int8_end_to_end_against_torch(samples, save):
    faster = ratio(samples["torch fp32, channels last, end to end"], samples["openvino int8, end to end"])
    overhead = 1 / ratio(samples["openvino int8, engine alone"], samples["openvino int8, end to end"])
    results = {
        "latency_ms": {name: percentiles(taken) for name, taken in samples.items()},
        "int8_speedup_over_torch_fp32": faster,
        "end_to_end_over_engine": round(overhead, 4),
        "samples_ms": {name: taken.round(4).tolist() for name, taken in samples.items()},
    }
    save("hg2-int8-speed", results)
    assert faster >= 4.0
    assert overhead <= 1.10


def test_every_convolution_but_the_head_runs_in_int8(hg2_int8, engine, save):
    precisions = engine.session.layer_precisions()
    save("hg2-int8-layers", {"convolutions": precisions})
    floats = [name for name, precision in precisions.items() if precision not in ("i8", "u8")]
    assert len(precisions) == hg2_int8.num_convs and len(floats) == 1
    assert hg2_int8.num_convs_int8 == hg2_int8.num_convs - 1
