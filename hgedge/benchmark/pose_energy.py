"""Energy a pose of several pipelines, where the sensors of a Jetson answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from hgedge.benchmark.energy import PowerSampler, energy_a_pose, read_rails
from hgedge.errors import BackendUnavailable
from hgedge.progress import Progress
from hgedge.runtime.pipeline import Pipeline

log = logging.getLogger(__name__)

SECONDS = 5.0  # of idleness, and of each pipeline


def pose_energy(
    pipelines: Mapping[str, Pipeline], picture: np.ndarray, box_xyxy: np.ndarray, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Name -> `hgedge.benchmark.energy.energy_a_pose`; empty on machines without such sensors."""
    if not read_rails():
        return {}
    progress("energy", 0, len(pipelines))
    with PowerSampler(read_rails) as idle:
        time.sleep(SECONDS)
    found = {}
    for done, (name, pipeline) in enumerate(pipelines.items()):
        with PowerSampler(read_rails) as running:
            poses, until = 0, time.monotonic() + SECONDS
            while time.monotonic() < until:
                poses += len(pipeline(picture, [box_xyxy]))
        try:
            found[name] = energy_a_pose(running.trace, idle.trace, poses)
        except BackendUnavailable as error:
            log.info("no energy a pose: %s", error)
            return {}
        progress("energy", done + 1, len(pipelines))
    return found
