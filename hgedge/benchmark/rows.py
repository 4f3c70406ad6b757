"""The row of an engine in the document of a bench, part by part, as JSON."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from hgedge import records
from hgedge.benchmark.candidates import Candidate
from hgedge.benchmark.cold import cold_start
from hgedge.benchmark.layers import profile
from hgedge.benchmark.noise import verdict
from hgedge.benchmark.stages import END_TO_END, Timings
from hgedge.benchmark.statistics import median_interval, ratio_interval
from hgedge.benchmark.timing import percentiles
from hgedge.bundle import engine_of
from hgedge.errors import BackendUnavailable
from hgedge.runtime.golden import GOLDEN

log = logging.getLogger(__name__)

PORTABLE = ("source.onnx", "model.onnx", "calibration.json", GOLDEN)  # what other files of an engine do without
COLD_RUNS = 3
NOT_SCORED: dict[str, Any] = {
    "metric": None,
    "accuracy": {},
    "accuracy_intervals": {},
    "drop": {},
    "drop_intervals": {},
    "drop_per_keypoint": {},
}


def about(candidate: Candidate) -> dict[str, Any]:
    """What an engine is, and what it takes on disk."""
    manifest = candidate.manifest
    backend, device = engine_of(candidate.folder, manifest)
    sizes = {name: (candidate.folder / name).stat().st_size for name in manifest.files}
    own = [size for name, size in sizes.items() if name not in PORTABLE]
    return {
        "name": candidate.name,
        "bundle": str(candidate.folder) if candidate.given else candidate.name,
        "is_baseline": candidate.is_baseline,
        "baseline": candidate.baseline,
        "model": records.to_mapping(manifest.model),
        "input_hw": list(manifest.input.hw),
        "backend": backend.name,
        "backend_version": backend.version,
        "precision": manifest.precision,
        "device": device.name,
        "engine_bytes": sum(own) or sizes["model.onnx"],
        "bundle_bytes": sum(sizes.values()) if candidate.given else None,
    }


def timing(candidate: Candidate, timings: Timings) -> dict[str, Any]:
    """How long an engine takes, and how that compares with its baseline; all samples are kept."""
    samples = timings.samples_ms[candidate.name]
    whole = samples[END_TO_END]
    ratio = ratio_interval(timings.samples_ms[candidate.baseline][END_TO_END], whole)
    return {
        "latency_ms": {stage: _summary(taken) for stage, taken in samples.items()},
        "fps": round(1e3 / float(np.median(whole)), 2),
        "ratio_to_baseline": ratio.value,
        "ratio_interval": {"low": ratio.low, "high": ratio.high},
        "verdict": None if candidate.is_baseline else verdict(ratio, timings.noise_floor),
        "warmup": records.to_mapping(timings.warmups[candidate.name]),
        "samples_ms": {stage: taken.round(4).tolist() for stage, taken in samples.items()},
    }


def on_its_own(candidate: Candidate, with_layers: bool) -> dict[str, Any]:
    """What needs a process or a session of its own: a cold start, and each layer's time if that is asked for."""
    cold = cold_start(candidate.folder, COLD_RUNS)
    found: dict[str, Any] = {"peak_memory_mib": cold["peak_memory_mib"], "cold_start": cold, "layers": None}
    if with_layers:
        try:
            found["layers"] = [
                {**records.to_mapping(layer), "gmac_per_s": layer.gmac_per_s} for layer in profile(candidate.folder)
            ]
        except BackendUnavailable as error:
            log.info("%s: its layers are not timed: %s", candidate.name, error)
    return found


def _summary(samples: np.ndarray) -> dict[str, Any]:
    """p50 with its 95 % interval, p95 and p99."""
    median = median_interval(samples)
    return {**percentiles(samples), "p50_interval": {"low": median.low, "high": median.high}}
