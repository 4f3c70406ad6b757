"""From what was asked for to the sweep, with all that can be refused before the work; and which notes are its own."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import hgedge
from hgedge import backends, records
from hgedge.benchmark.environment import CORES
from hgedge.budget.metric import family_of
from hgedge.budget.notebook import Notebook
from hgedge.budget.people import check_keypoints, data_digest
from hgedge.builder import BuildOptions
from hgedge.builder.budget import check_runs_here
from hgedge.cache import cache_folder
from hgedge.evaluation.evaluate import open_people
from hgedge.progress import Progress, no_progress
from hgedge.sweep.loop import Outcome, Sweep
from hgedge.sweep.model import Axes, grid_of, opened
from hgedge.sweep.ranges import ranges_of

log = logging.getLogger(__name__)

FORMAT_VERSION = 1  # counts changes of what is measured, or how


def sweep(
    options: BuildOptions,
    axes: Axes,
    data: Path,
    split: str | None = None,
    limit: int | None = None,
    allow_noise: bool = False,
    fresh: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Measure the grid of a model on labelled people, or recall it.

    Args:
        options: Model, backend and calibration.
        axes: What to sweep.
        data: Folder of a labelled data set.
        split: Of it; None: its own default.
        limit: Score only so many people, spread over the split.
        allow_noise: Time whatever other processes do.
        fresh: Measure anew what was measured before.
        progress: Told how far it is.

    Raises:
        HgedgeError: An option, the model, the people or the machine does not allow it.
    """
    dataset, labels = open_people(data, split, limit)
    model = opened(options, axes)
    check_runs_here(model.options.backend)
    check_keypoints(dataset, model.network.keypoints, model.network.name)
    family_of(labels)
    grid = grid_of(model, axes)
    for remark in model.said:
        log.info("%s", remark)
    sizes = dict.fromkeys(candidate.input_hw for candidate in grid if candidate.precision == "int8")
    ranges = {hw: ranges_of(model, hw, data, dataset.split) for hw in sizes}
    work = Sweep(model, grid, dataset, labels, ranges, allow_noise, progress)
    path = cache_folder("sweep") / notebook_name(work)
    if fresh:
        path.unlink(missing_ok=True)
    return work.run(Notebook(path))


def notebook_name(work: Sweep) -> str:
    """A file named after all that decides what a candidate's notes say, but for the candidate."""
    model, options = work.model, work.model.options
    network, backend = model.network, options.backend
    decides = {
        "hgedge": [hgedge.__version__, FORMAT_VERSION],
        "weights": [network.sha256, network.num_stacks],
        "manifest": {name: records.to_mapping(getattr(network, name)) for name in ("input", "decode", "keypoints")},
        "assignment": [options.float_groups, network.assignment[1], network.kept_fp32],
        "engine": [backend, backends.builder(backend).version(), records.to_mapping(backends.device_for(backend))],
        "options": [options.batch, *options.engine_options.arguments],
        "cores": CORES,
        "people": data_digest(work.labels, work.dataset),
    }
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return f"{network.name}-{key[:24]}.jsonl"
