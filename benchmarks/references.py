"""Fixed workloads, none of them hgedge's code, that are timed in turn with what is: a slow day is slow for both.

"array"   NumPy on 16 maps of 64 x 64, on one core: for NumPy, OpenCV and Python
"matrix"  a matrix product a core, all at once, each an hourglass's 1x1 convolution on 32 x 32 cells: for engines
"gpu"     a matrix product on the GPU, by PyTorch: for engines there

Whoever changes one raises `hgedge.benchmark.gate.REFERENCES`, as older runs cannot be compared any more.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hgedge.benchmark import gate, quiet
from hgedge.benchmark.environment import CORES
from hgedge.benchmark.steady import warm_up

SPAN_S, ROUNDS = 0.8, (30, 500)  # of a benchmark's own calls; the fewest rounds and the most
WARMUP_S = 1.0  # at most
SHARE, CALLS = 0.25, (2, 1000)  # of a round's own time, that its reference takes; calls of it


def array():
    maps, rows = np.random.default_rng(0).random((16, 4096), np.float32), np.arange(16)

    def run():
        peaks = maps.argmax(axis=1)
        y, x = np.divmod(peaks, 64)
        for _ in range(4):
            points = np.stack([x, y], axis=1).astype(np.float32) * 4 + 1.5
        return points, maps[rows, peaks]

    return run


def matrix():
    random = np.random.default_rng(0)
    weight, maps = random.random((256, 256), np.float32), random.random((CORES, 256, 1024), np.float32)
    products, pool = np.empty_like(maps), ThreadPoolExecutor(CORES)
    return lambda: list(pool.map(np.matmul, [weight] * CORES, maps, products))


def gpu():
    torch = pytest.importorskip("torch", reason="timing a GPU needs PyTorch for its reference")
    if not torch.cuda.is_available():
        pytest.skip("timing a GPU needs PyTorch with CUDA for its reference, but it finds no device")
    one = torch.rand(2048, 2048, dtype=torch.float16, device="cuda")

    def run():
        one @ one
        torch.cuda.synchronize()

    return run


class References(dict):
    """Name -> a reference, made when it is first asked for."""

    def __missing__(self, name):
        self[name] = {"array": array, "matrix": matrix, "gpu": gpu}[name]()
        return self[name]


def seconds(call, calls=1):
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - started


def timed_rounds(benchmark, call, references, reference, calls):
    """For the gate: rounds of a benchmark, each of so many calls and followed by its reference; None if disabled."""
    if benchmark.disabled:  # --benchmark-disable runs everything once
        benchmark.pedantic(call)
        return None
    other, reference_s = references[reference], []
    warm_up({"benchmark": call, "reference": other}, most_s=WARMUP_S)
    own_s, other_s = (min(seconds(each) for _ in range(3)) for each in (call, other))
    others = int(np.clip(SHARE * own_s * calls / other_s, *CALLS))
    rounds = int(np.clip(SPAN_S / (own_s * calls), *ROUNDS))

    def after_round():
        other()  # brings its data back into the cache, whatever ran before
        reference_s.append(seconds(other, others) / others)

    with quiet.watch() as watch:
        benchmark.pedantic(call, rounds=rounds, iterations=calls, teardown=after_round)
    samples_ms, reference_ms = (
        tuple(1e3 * each for each in found) for found in (benchmark.stats.stats.data, reference_s[:rounds])
    )
    return gate.Timed(reference, samples_ms, reference_ms, watch.share)
