"""The regression gate: a run of benchmarks against a stored one, by ratios to a reference that is not hgedge's code.

The reference is timed after every round of a benchmark. What slows the whole machine slows both, and leaves

    ratio      median over rounds of benchmark / reference
    change     ratio now / ratio then, with the 95 % interval
               log(change) -+ sqrt((log of ratio now to its own bound)^2 + (log of ratio then to its own bound)^2)
    floor      how far a run is from itself: the ratio of its slowest third over that of its fastest, less 1
    threshold  the larger of 5 % and sqrt(floor now^2 + floor then^2)

A benchmark is slower where the whole interval lies above 1 + threshold, and level only where a slowdown of 15 % can be
ruled out; else the machine was too noisy to tell. The interval holds the noise from round to round, the floor what
drifts while a run lasts, and 5 % what differs from process to process. Source of the interval: Donner and Zou,
"Closed-form confidence intervals for functions of the normal mean and standard deviation", 2012.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgedge import records
from hgedge.benchmark.noise import verdict
from hgedge.benchmark.quiet import LIMIT
from hgedge.benchmark.statistics import LEAST_SAMPLES, Interval, ratio_interval
from hgedge.errors import ConfigError

RECORD = "record one: pytest benchmarks/ --hgedge-save"
REFERENCES = "1"  # rises when a reference of benchmarks/conftest.py becomes another
LEAST = 0.05  # what a ratio may move from process to process, with the layout of memory
CAUGHT = 0.15  # no slowdown as large is ever called level
DIGITS = 5  # of samples in files
VERDICTS = SLOWER, NOISY, FASTER, LEVEL, NEW, GONE = "slower", "too noisy", "faster", "level", "new", "gone"


@dataclass(frozen=True)
class Timed:
    """The rounds of one benchmark.

    Attributes:
        reference: Name of its reference.
        samples_ms: Milliseconds a call, one a round.
        reference_ms: Of the reference, after the same rounds.
        taken: Share of all CPU time that other processes took meanwhile, 0 to 1.
    """

    reference: str
    samples_ms: tuple[float, ...]
    reference_ms: tuple[float, ...]
    taken: float = 0.0

    @property
    def ratios(self) -> np.ndarray:
        """(rounds,) float64: benchmark / reference."""
        return np.array(self.samples_ms) / np.array(self.reference_ms)

    def check(self, name: str) -> None:
        """Check that a verdict can be found.

        Raises:
            ConfigError: It has fewer than 30 rounds, rounds without a reference, or times that are none.
        """
        rounds, references = len(self.samples_ms), len(self.reference_ms)
        if rounds != references:
            raise ConfigError(f"{name} has {rounds} samples, but {references} of its reference")
        if rounds < LEAST_SAMPLES:
            raise ConfigError(f"{name} has {rounds} samples, but a verdict needs {LEAST_SAMPLES}")
        if not all(0 < value < math.inf for value in (*self.samples_ms, *self.reference_ms)):
            raise ConfigError(f"{name} has samples that are no times above 0")


@dataclass(frozen=True)
class Run:
    """What `pytest benchmarks/` timed.

    Attributes:
        machine: The class of machine (`hgedge.benchmark.environment.machine_name`).
        versions: Of what times depend on: hgedge, Python, libraries, driver, references.
        benchmarks: By name.
    """

    machine: str
    versions: dict[str, str]
    benchmarks: dict[str, Timed]


@dataclass(frozen=True)
class Finding:
    """What the gate says of one benchmark.

    Attributes:
        name: Of the benchmark.
        verdict: "slower", "faster", "level", "too noisy", "new" or "gone".
        then: Ratio of the stored run; None: it is new.
        now: Ratio of this run; None: it is gone.
        change: now / then.
        threshold: How much larger than 1 the change must be.
        why: What makes it too noisy.
    """

    name: str
    verdict: str
    then: float | None = None
    now: float | None = None
    change: Interval | None = None
    threshold: float = LEAST
    why: str = ""


def versions_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """What times depend on, of a record of `hgedge.benchmark.environment.environment`; Python by its minor version."""
    driver = environment.get("gpu", {}).get("driver")
    return {
        "hgedge": environment["hgedge"],
        "python": ".".join(environment["python"].split(".")[:2]),
        "references": REFERENCES,
        **environment["libraries"],
        **({"driver": driver} if driver else {}),
    }


def load_run(path: Path) -> Run:
    """Read a stored run.

    Raises:
        ConfigError: There is none, it is malformed, or a benchmark has fewer than 30 samples.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        run = records.from_mapping(Run, document["results"], "results")
        for name, timed in run.benchmarks.items():
            timed.check(name)
    except FileNotFoundError:
        raise ConfigError(f"there is no baseline {path}; {RECORD}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no baseline ({type(error).__name__}: {error}); {RECORD}") from error
    except ConfigError as error:
        raise ConfigError(f"{path} is no baseline: {error}; {RECORD}") from error
    return run


def save_run(path: Path, run: Run, environment: Mapping[str, Any]) -> None:
    """Write a run, a line a benchmark; the file is whole at any moment."""
    plain = records.to_mapping(run)
    for timed in plain["benchmarks"].values():
        for key in ("samples_ms", "reference_ms"):
            timed[key] = [float(f"{value:.{DIGITS}g}") for value in timed[key]]
    lines = [f"      {json.dumps(name)}: {json.dumps(timed)}" for name, timed in plain.pop("benchmarks").items()]
    head = json.dumps({"environment": environment, "results": {**plain, "benchmarks": {}}}, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(head.removesuffix("{}\n  }\n}") + "{\n" + ",\n".join(lines) + "\n    }\n  }\n}\n", encoding="utf-8")
    part.replace(path)


def check_same_kind(path: Path, then: Run, machine: str, versions: Mapping[str, str]) -> None:
    """Check that a stored run may be compared with one of this machine.

    Raises:
        ConfigError: It is of another class of machine, or of other versions; a library that only one of both has
            only adds or removes benchmarks.
    """
    if then.machine != machine:
        raise ConfigError(f"{path} was recorded on {then.machine}, but this machine is {machine}; {RECORD}")
    for name, version in then.versions.items():
        if versions.get(name, version) != version:
            raise ConfigError(f"{path} was recorded with {name} {version}, but here is {versions[name]}; {RECORD}")


def compare(
    then: Mapping[str, Timed], now: Mapping[str, Timed], left_out: Collection[str] = (), heed_others: bool = True
) -> list[Finding]:
    """The verdict on every benchmark of two runs: those that are slower first, then by name.

    Args:
        then: The stored run.
        now: This run.
        left_out: Benchmarks that nobody asked for in this run, which are not gone.
        heed_others: Whether a benchmark is too noisy where other processes took more than 5 % of the CPU.

    Raises:
        ConfigError: A benchmark has fewer than 30 rounds.
    """
    found = [_finding(name, then.get(name), timed, heed_others) for name, timed in now.items()]
    found += [
        Finding(name, GONE, then=_ratio(timed).value)
        for name, timed in then.items()
        if name not in now and name not in left_out
    ]
    return sorted(found, key=lambda finding: (VERDICTS.index(finding.verdict), finding.name))


def exit_status(findings: Collection[Finding]) -> int:
    """1: something is slower; 2: nothing is, but something was too noisy to tell; 0: neither."""
    verdicts = {finding.verdict for finding in findings}
    return 1 if SLOWER in verdicts else 2 if NOISY in verdicts else 0


def machine_change(then: Mapping[str, Timed], now: Mapping[str, Timed]) -> float | None:
    """How many times longer the references take now, the median over benchmarks; None: nothing is in both."""
    changes = [
        float(np.median(now[name].reference_ms) / np.median(then[name].reference_ms))
        for name in now
        if name in then and now[name].reference == then[name].reference
    ]
    return float(np.median(changes)) if changes else None


def _finding(name: str, then: Timed | None, now: Timed, heed_others: bool) -> Finding:
    now.check(name)
    ratio = _ratio(now)
    if then is None or then.reference != now.reference:
        return Finding(name, NEW, now=ratio.value)
    before = _ratio(then)
    change = quotient(ratio, before)
    threshold = max(LEAST, math.hypot(floor_of(now), floor_of(then)))
    found, why = _verdict(change, threshold)
    for when, timed in (("then", then), ("now", now)):
        if heed_others and timed.taken > LIMIT:
            found, why = NOISY, f"other processes took {timed.taken:.0%} of the CPU {when}"
    return Finding(name, found, before.value, ratio.value, change, threshold, why)


def _verdict(change: Interval, threshold: float) -> tuple[str, str]:
    told = verdict(Interval(1 / change.value, 1 / change.high, 1 / change.low), threshold)
    if told == LEVEL and change.high > 1 + CAUGHT:
        return NOISY, f"a slowdown of {CAUGHT:.0%} is neither shown nor ruled out"
    return told, ""


def _ratio(timed: Timed) -> Interval:
    return ratio_interval(np.array(timed.samples_ms), np.array(timed.reference_ms))


def quotient(upper: Interval, lower: Interval) -> Interval:
    """The quotient of two independent values above 0, each with its interval; see the formula above."""
    value = upper.value / lower.value
    down = math.hypot(math.log(upper.value / upper.low), math.log(lower.high / lower.value))
    up = math.hypot(math.log(upper.high / upper.value), math.log(lower.value / lower.low))
    return Interval(value, value * math.exp(-down), value * math.exp(up))


def floor_of(timed: Timed) -> float:
    """How far a run is from itself: 0.02 where its slowest third's ratio is 2 % above that of its fastest."""
    medians = [float(np.median(third)) for third in np.array_split(timed.ratios, 3)]
    return max(medians) / min(medians) - 1


def table(findings: Collection[Finding]) -> list[str]:
    """Lines of text: benchmark, ratio then and now, change with its interval and threshold, verdict."""
    rows: list[tuple[str, ...]] = [
        ("benchmark", "ratio then", "ratio now", "change, 95 % interval", "threshold", "verdict")
    ]
    rows += [_row(finding) for finding in findings]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _row(finding: Finding) -> tuple[str, ...]:
    then, now = ("-" if ratio is None else f"{ratio:.4g}" for ratio in (finding.then, finding.now))
    change, threshold = "-", "-"
    if finding.change is not None:
        low, high = (f"{bound - 1:+.1%}" for bound in (finding.change.low, finding.change.high))
        change, threshold = f"{finding.change.value - 1:+.1%} ({low} to {high})", f"{finding.threshold:.1%}"
    return finding.name, then, now, change, threshold, f"{finding.verdict}{finding.why and f': {finding.why}'}"
