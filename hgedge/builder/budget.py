"""A build under an accuracy budget: the network and the people for `hgedge.budget`, and what it finds as options."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hgedge
from hgedge import backends, device, records
from hgedge.backends.base import Session
from hgedge.builder import calibration, half_precision
from hgedge.builder.calibration import CalibrationSet, CalibrationTable
from hgedge.builder.network import Network, network_of
from hgedge.builder.options import PLACEMENTS, BuildOptions
from hgedge.cache import cache_folder
from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.progress import Progress, no_progress
from hgedge.spec import BackendInfo, BudgetInfo, Manifest, ModelInfo

log = logging.getLogger(__name__)

DEFAULT_MAX_DROP = 1.0
Source = CalibrationSet | CalibrationTable | None


@dataclass(frozen=True)
class Verdict:
    """What a search found, for the bundle and for the report.

    Attributes:
        info: On whom it was measured, and how sure it is.
        tried: What was measured, in order.
        lab: Where it was measured.
        people: `hgedge.budget.people.Half`.
    """

    info: BudgetInfo
    tried: tuple[dict[str, Any], ...]
    lab: Any
    people: Any

    def noted_in(self, manifest: Manifest) -> bool:
        """Whether a bundle tells of this measurement already."""
        if manifest.budget is None:
            return False
        return dataclasses.replace(manifest.budget, intervals={}) == dataclasses.replace(self.info, intervals={})

    def judged(self, session: Session, manifest: Manifest) -> Manifest:
        """The manifest with the verdict on the engine that the bundle holds: another build of a graph may not equal it.

        Raises:
            BudgetExceeded: It loses more than the budget.
        """
        from hgedge.budget.search import check_fits

        with self.lab as lab:
            found = lab.drop_of(session, self.people)
        check_fits(found, self.info.max_drop)
        budget = dataclasses.replace(self.info, intervals=_intervals(found.drop))
        points = {name: told["points"] for name, told in found.drop.items()}
        return dataclasses.replace(manifest, accuracy=found.accuracy, drop=points, budget=budget)


def max_drop_of(options: BuildOptions) -> float | None:
    """The budget of a build in points, or None.

    Raises:
        ConfigError: There is a budget, but no data or no engine to measure.
    """
    if options.max_drop is None:
        recipe = options.calibration is not None and options.calibration.suffix == ".toml"
        if options.data is None or options.precision != "int8" or recipe or not options.engine:
            return None
        log.info(
            "--data without --max-drop: INT8 may lose %g points; leave --data out to build unmeasured", DEFAULT_MAX_DROP
        )
        return DEFAULT_MAX_DROP
    if options.data is None:
        raise ConfigError(
            f"--max-drop {options.max_drop:g} needs labelled people to measure the drop on, but there is no --data; "
            "give a data set: --data DIR"
        )
    if not options.engine:
        raise ConfigError("--max-drop is measured on the engine, but --no-engine makes none; leave one of them out")
    return options.max_drop


def within_budget(
    max_drop: float, options: BuildOptions, network: Network, backend: str, source: Source, progress: Progress
) -> tuple[BuildOptions, Source, Verdict]:
    """Find the assignment to build: its options, the ranges that it was found with, and the verdict on it.

    Raises:
        BudgetExceeded: None was shown to lose so little.
        ConfigError: The people are labelled with other keypoints, or are too few.
    """
    from hgedge.budget.lab import Lab
    from hgedge.budget.notebook import notebook_for
    from hgedge.budget.people import data_digest, everybody, halves_of, labelled_people
    from hgedge.budget.proof import check_provable, smallest_unmoved
    from hgedge.budget.search import judge, search

    check_runs_here(backend)
    dataset, labels = labelled_people(options.data or Path(), network.keypoints, network.name)
    halves = halves_of(dataset, labels) if options.precision == "int8" else (everybody(dataset, labels),)
    check_provable(max_drop, smallest_unmoved(halves[-1]), halves[-1])  # told before the work
    subject, source = prepared(options, network, backend, source, progress)
    notebook = notebook_for(notebook_folder(), subject, data_digest(labels, dataset))
    with Lab(subject, notebook, progress=progress) as lab:
        outcome = search(lab, halves, max_drop, progress) if len(halves) == 2 else judge(lab, halves[0], max_drop)
    chosen, drop = outcome.chosen.candidate, outcome.chosen.drop
    if options.precision == "int8":
        options = dataclasses.replace(options, placement=chosen.placement, float_groups=chosen.float_groups)
    info = BudgetInfo(
        metric=next(iter(drop.drop)),
        max_drop=max_drop,
        intervals=_intervals(drop.drop),
        smallest_provable=round(outcome.smallest, 3),
        data=dataset.name,
        split=dataset.split,
        half=outcome.chosen.half,
        people=outcome.people,
    )
    tried = tuple(trial.row() for trial in outcome.tried)
    return options, source, Verdict(info, tried, lab, halves[-1])


def _intervals(drop: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {"low": found["low"], "high": found["high"]} for name, found in drop.items()}


def prepared(
    options: BuildOptions, network: Network, backend: str, source: Source, progress: Progress
) -> tuple[Any, Source]:
    """The network as `hgedge.budget.candidate.Subject`, and its ranges as a table, so that they are collected once."""
    from hgedge.budget.candidate import Candidate, Subject
    from hgedge.quantization.groups import nodes_of
    from hgedge.quantization.insert_qdq import quantize
    from hgedge.quantization.ranges import naming_version, table_key

    graph, table = network.graph(), None
    pinned = tuple(sorted(set(options.float_groups or ())))
    nodes_of(graph, pinned)  # a wrong name is told before the work
    int8 = options.precision == "int8"
    if int8 and source is not None:
        key = table_key(network.sha256, network.input, naming_version(graph))
        table = calibration.ranges_for(source, key, graph, network.input, progress)
        source = CalibrationTable("the ranges that were collected for the search", table)

    kept: tuple[str, ...] = ()
    if half_precision.holds_half(options.precision, backend):
        kept = half_precision.kept_in_float(graph, graph, network, network.golden(), source, progress)

    def render(candidate: Candidate) -> Any:
        if candidate.precision == "int8" and table is not None:
            unsigned = backends.builder(backend).UNSIGNED_AFTER_RELU
            quantised = quantize(graph, table, candidate.placement, unsigned, candidate.float_groups)
            return backends.rendered(backend, quantised, "int8", kept)
        return backends.rendered(backend, graph, candidate.precision, kept if candidate.precision == "fp16" else ())

    placements = () if not int8 else PLACEMENTS if options.placement is None else (options.placement,)
    asked = Candidate("int8", placements[0], pinned) if placements else Candidate(options.precision, "")
    manifest = _fp32_manifest(options, network, backend)
    return Subject(graph, manifest, backend, render, asked, placements, network.checkpoint), source


def notebook_folder() -> Path:
    """Where measurements are kept."""
    return cache_folder("budget")


def check_runs_here(backend: str) -> None:
    """Raise BackendUnavailable where a backend's engines cannot run on this machine."""
    reason = backends.why_not_here(backend)
    if reason is not None:
        raise BackendUnavailable(
            f"accuracy and milliseconds are measured on the engine, which cannot run here: {reason}; "
            "leave out --data and --max-drop, or build where it runs"
        )


def _fp32_manifest(options: BuildOptions, network: Network, backend: str) -> Manifest:
    """Of an engine that lives only as long as it is measured."""
    return Manifest(
        hgedge_version=hgedge.__version__,
        measured=False,
        model=ModelInfo(network.name, network.sha256, network.num_stacks, network.parameters, 0.0),
        precision="fp32",
        backend=BackendInfo(backend, backends.builder(backend).version()),
        device=backends.device_for(backend, options.engine_options),
        input=network.input,
        keypoints=network.keypoints,
        decode=network.decode,
        digest="",
        num_convs=0,
        num_convs_int8=0,
        batch=options.batch[:1],
        engine_options=options.engine_options,
    )


def sensitivity_document(
    options: BuildOptions, split: str | None, limit: int | None, progress: Progress = no_progress
) -> dict[str, Any]:
    """What each group of a network costs and saves in INT8, on the half of the people that a build would search on.

    Args:
        options: Of the INT8 build.
        split: Of the data set; None: its own default.
        limit: Take only this many people, spread over the split; a build does not reuse what they showed.
        progress: Told about groups done.

    Returns:
        `model`, `backend`, `device`, `placement`, `data`, `split`, `half`, `num_people`, `metrics` (`loose`, `tight`),
        `fp32` and `int8` (latency, accuracy, drop, heatmap error), and `rows`, a group each.

    Raises:
        HgedgeError: An option, the model, the people or the machine does not allow it.
    """
    from hgedge.budget.candidate import FP32
    from hgedge.budget.lab import Lab
    from hgedge.budget.metric import metric_names
    from hgedge.budget.notebook import notebook_for
    from hgedge.budget.people import data_digest, halves_of, labelled_people
    from hgedge.budget.sensitivity import sensitivity

    backend = backends.choose(options.backend)
    backends.builder(backend).check("int8", device.cpu())
    check_runs_here(backend)
    network = network_of(options)
    dataset, labels = labelled_people(options.data or Path(), network.keypoints, network.name, split, limit)
    subject, _ = prepared(options, network, backend, calibration.find(options, network), progress)
    half, _ = halves_of(dataset, labels)
    with Lab(subject, notebook_for(notebook_folder(), subject, data_digest(labels, dataset)), progress=progress) as lab:
        rows = sensitivity(lab, subject.asked.placement, half, progress)
        wholes = {
            name: {**records.to_mapping(lab.latency(each, half)), **records.to_mapping(lab.drop(each, half))}
            for name, each in (("fp32", FP32), ("int8", subject.asked))
        }
    return {
        "model": network.name,
        "backend": backend,
        "device": records.to_mapping(backends.device_for(backend)),
        "placement": subject.asked.placement,
        "float_groups": subject.asked.float_groups,
        "data": dataset.name,
        "split": dataset.split,
        "half": half.name,
        "num_people": len(half),
        "metrics": dict(zip(("loose", "tight"), metric_names(labels))),
        **wholes,
        "rows": [records.to_mapping(row) for row in rows],
    }
