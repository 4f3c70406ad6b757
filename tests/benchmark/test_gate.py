import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from hgedge.benchmark import gate
from hgedge.benchmark.statistics import Interval
from hgedge.errors import ConfigError

ROUNDS = 60
SEEDS = 100
FALSE_ALARMS, CAUGHT = 0.01, 0.99  # of SEEDS, at most and at least
JITTER, DRIFT, LAYOUT = (
    0.03,
    0.05,
    0.01,
)  # standard deviations, of logarithms: of a sample, of the machine, of a process
OUTLIERS = 0.04  # share of samples that something interrupted
PLANTED = 1.15
ENVIRONMENT = {
    "hgedge": "0.1.0",
    "python": "3.11.7",
    "libraries": {"numpy": "2.4.6", "openvino": "2026.4.1"},
    "gpu": {"driver": "580.1"},
}
VERSIONS = gate.versions_of(ENVIRONMENT)


def simulated(seed, slower=1.0, machine=1.0, rounds=ROUNDS):
    """A run of a process: a machine whose pace wanders, samples that jitter, some of them interrupted."""
    random = np.random.default_rng(seed)
    pace = np.full(rounds, machine)
    wandering = 0.0
    for index in range(rounds):
        wandering = 0.9 * wandering + math.sqrt(1 - 0.9**2) * random.normal(0, DRIFT)
        pace[index] *= math.exp(wandering)

    def samples(milliseconds):
        interrupted = np.where(random.random(rounds) < OUTLIERS, random.uniform(1.3, 4, rounds), 1)
        return tuple((milliseconds * pace * interrupted * np.exp(random.normal(0, JITTER, rounds))).tolist())

    layout = math.exp(random.normal(0, LAYOUT))
    return gate.Timed("array", samples(0.05 * slower * layout), samples(0.02))


def runs(start, **how):
    return {f"decode {seed:03d}": simulated(start + seed, **how) for seed in range(SEEDS)}


def share(findings, verdict):
    return sum(finding.verdict == verdict for finding in findings) / len(findings)


@pytest.fixture(scope="module")
def stored():
    return runs(0)


def test_the_same_code_is_level(stored):
    findings = gate.compare(stored, runs(1000))
    assert share(findings, "slower") <= FALSE_ALARMS
    assert share(findings, "level") >= CAUGHT


def test_a_planted_slowdown_is_caught(stored):
    findings = gate.compare(stored, runs(1000, slower=PLANTED))
    assert share(findings, "slower") >= CAUGHT
    assert gate.exit_status(findings) == 1
    changes = [finding.change.value for finding in findings]
    assert np.median(changes) == pytest.approx(PLANTED, abs=LAYOUT)


def test_a_slow_machine_is_not(stored):
    """Twice as slow, as on a bad day; and as if another process came and went."""
    slow = runs(1000, machine=2.0)
    assert gate.machine_change(stored, slow) == pytest.approx(2, rel=DRIFT)
    assert share(gate.compare(stored, slow), "slower") <= FALSE_ALARMS
    in_turns = runs(1000, machine=np.where(np.arange(ROUNDS) // 7 % 2, 1.9, 1.0))
    assert share(gate.compare(stored, in_turns), "slower") <= FALSE_ALARMS


def test_a_planted_slowdown_on_a_slow_machine_is_caught(stored):
    assert share(gate.compare(stored, runs(1000, slower=PLANTED, machine=0.6)), "slower") >= CAUGHT


def test_faster_code_is_told(stored):
    findings = gate.compare(stored, runs(1000, slower=1 / PLANTED))
    assert share(findings, "faster") >= CAUGHT and gate.exit_status(findings) == 0


def test_what_drifts_raises_the_threshold():
    """A ratio that climbs by a tenth within a run may have done so from run to run."""
    steady, climbing = (simulated(seed, rounds=300) for seed in (1, 2))
    ramp = np.repeat([1.0, 1.0, 1.1], 100)
    climbing = dataclasses.replace(climbing, samples_ms=tuple(np.array(climbing.samples_ms) * ramp))
    assert gate.floor_of(steady) < 0.03 and gate.floor_of(climbing) == pytest.approx(0.1, abs=0.03)
    (finding,) = gate.compare({"decode": climbing}, {"decode": steady})
    assert finding.threshold == pytest.approx(math.hypot(gate.floor_of(steady), gate.floor_of(climbing)))


def test_what_cannot_be_told_is_too_noisy_and_no_pass():
    random = np.random.default_rng(0)
    wild = [
        gate.Timed("array", tuple(np.exp(random.normal(0, 0.8, ROUNDS)).tolist()), (1.0,) * ROUNDS) for _ in range(2)
    ]
    findings = gate.compare({"decode": wild[0]}, {"decode": wild[1]})
    assert [finding.verdict for finding in findings] == ["too noisy"]
    assert findings[0].why == "a slowdown of 15% is neither shown nor ruled out"
    assert gate.exit_status(findings) == 2


@pytest.mark.parametrize("when", ["then", "now"])
def test_others_on_the_machine_make_it_too_noisy(when):
    one, two = simulated(0), simulated(1, slower=1.5)
    disturbed = {"then": (dataclasses.replace(one, taken=0.4), two), "now": (one, dataclasses.replace(two, taken=0.4))}
    then, now = ({"decode": timed} for timed in disturbed[when])
    (finding,) = gate.compare(then, now)
    assert finding.verdict == "too noisy" and finding.why == f"other processes took 40% of the CPU {when}"
    (unheeded,) = gate.compare(then, now, heed_others=False)
    assert unheeded.verdict == "slower"


def test_new_and_gone_benchmarks_are_listed():
    timed = simulated(0)
    findings = gate.compare({"old": timed, "unasked": timed}, {"new": timed}, left_out={"unasked"})
    assert [(finding.name, finding.verdict) for finding in findings] == [("new", "new"), ("old", "gone")]
    assert gate.exit_status(findings) == 0
    other = dataclasses.replace(timed, reference="matrix")
    assert gate.compare({"decode": timed}, {"decode": other})[0].verdict == "new"


def test_quotient_of_exact_values_has_the_others_interval():
    interval = gate.quotient(Interval(3.0, 2.7, 3.6), Interval(2.0, 2.0, 2.0))
    assert dataclasses.astuple(interval) == pytest.approx((1.5, 1.35, 1.8))


def test_quotient_covers_as_promised():
    """Of log-normal values with known intervals, 95 % of the quotients' intervals hold the true one."""
    random, sd, held = np.random.default_rng(0), (0.02, 0.03), 0
    for _ in range(4000):
        upper, lower = (math.exp(random.normal(0, each)) for each in sd)
        around = [Interval(v, v * math.exp(-1.96 * s), v * math.exp(1.96 * s)) for v, s in zip((upper, lower), sd)]
        interval = gate.quotient(*around)
        held += interval.low <= 1 <= interval.high
    assert held / 4000 == pytest.approx(0.95, abs=0.012)  # 3.5 standard deviations of so many


def test_table_names_what_is_slower_first():
    then = {"decode": simulated(0), "crop": simulated(1), "old": simulated(2)}
    lines = gate.table(gate.compare(then, {"decode": simulated(3, slower=1.4), "crop": simulated(4)}))
    assert [line.split()[0] for line in lines] == ["benchmark", "decode", "crop", "old"]
    cells = [cell.strip() for cell in lines[1].split("  ") if cell.strip()]
    assert cells[3].startswith("+3") and " to +" in cells[3] and cells[4:] == ["5.0%", "slower"]
    assert lines[3].split()[-1] == "gone"


def stored_at(path, **changes):
    run = gate.Run("amd-epyc-2core", dict(VERSIONS), {"decode": simulated(0)})
    gate.save_run(path, dataclasses.replace(run, **changes), ENVIRONMENT)
    return path


def test_a_run_is_stored_a_line_a_benchmark(tmp_path):
    both = {"decode": simulated(0), "crop": dataclasses.replace(simulated(1), taken=0.01)}
    path = stored_at(tmp_path / "new" / "latency.json", benchmarks=both)
    run, document = gate.load_run(path), json.loads(path.read_text())
    assert document["environment"] == ENVIRONMENT
    assert run.machine == "amd-epyc-2core" and run.versions == VERSIONS and list(run.benchmarks) == ["decode", "crop"]
    assert run.benchmarks["crop"].taken == 0.01
    assert run.benchmarks["decode"].ratios == pytest.approx(both["decode"].ratios, rel=1e-4)  # five digits are kept
    assert sum('"samples_ms"' in line for line in path.read_text().splitlines()) == 2
    assert [file.name for file in path.parent.iterdir()] == ["latency.json"]


def test_versions_are_of_what_times_depend_on():
    assert VERSIONS == {
        "hgedge": "0.1.0",
        "python": "3.11",
        "references": gate.REFERENCES,
        "numpy": "2.4.6",
        "openvino": "2026.4.1",
        "driver": "580.1",
    }


@pytest.mark.parametrize(
    ("machine", "versions", "told"),
    [
        ("intel-4core", {}, "was recorded on amd-epyc-2core, but this machine is intel-4core"),
        ("amd-epyc-2core", {"openvino": "2027.0"}, "was recorded with openvino 2026.4.1, but here is 2027.0"),
        ("amd-epyc-2core", {"hgedge": "0.2.0"}, "was recorded with hgedge 0.1.0, but here is 0.2.0"),
        ("amd-epyc-2core", {"python": "3.12"}, "was recorded with python 3.11, but here is 3.12"),
        ("amd-epyc-2core", {"references": "2"}, "was recorded with references 1, but here is 2"),
    ],
)
def test_a_run_of_another_kind_is_refused(tmp_path, machine, versions, told):
    path = stored_at(tmp_path / "latency.json")
    with pytest.raises(ConfigError) as refused:
        gate.check_same_kind(path, gate.load_run(path), machine, {**VERSIONS, **versions})
    assert str(refused.value) == f"{path} {told}; record one: pytest benchmarks/ --hgedge-save"


def test_a_library_more_or_less_is_no_other_kind(tmp_path):
    path = stored_at(tmp_path / "latency.json")
    versions = {name: version for name, version in VERSIONS.items() if name != "openvino"}
    gate.check_same_kind(path, gate.load_run(path), "amd-epyc-2core", {**versions, "torch": "2.13"})


def test_no_baseline(tmp_path):
    with pytest.raises(ConfigError) as refused:
        gate.load_run(tmp_path / "latency.json")
    told = f"there is no baseline {tmp_path / 'latency.json'}; record one: pytest benchmarks/ --hgedge-save"
    assert str(refused.value) == told


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"results": []}', '{"results": {"machine": "m"}}', "\0", '{"results": null}']
)
def test_a_malformed_file_is_no_baseline(tmp_path, text):
    path = tmp_path / "latency.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"latency\.json is no baseline.*; record one: pytest benchmarks/") as refused:
        gate.load_run(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda timed: timed.update(samples_ms=[1.0] * 12, reference_ms=[1.0] * 12),
            "12 samples, but a verdict needs 30",
        ),
        (lambda timed: timed.update(samples_ms=[1.0] * 40), "40 samples, but 60 of its reference"),
        (lambda timed: timed["samples_ms"].__setitem__(3, 0.0), "samples that are no times above 0"),
        (lambda timed: timed["samples_ms"].__setitem__(3, math.nan), "samples that are no times above 0"),
        (lambda timed: timed["reference_ms"].__setitem__(3, math.inf), "samples that are no times above 0"),
        (lambda timed: timed["samples_ms"].__setitem__(3, "fast"), "must be"),
        (lambda timed: timed.pop("reference"), "results: 'benchmarks.reference' is missing"),
        (lambda timed: timed.update(rounds=3), "unknown key 'rounds'"),
    ],
)
def test_samples_that_allow_no_verdict_are_refused(tmp_path, change, told):
    path = stored_at(tmp_path / "latency.json")
    document = json.loads(path.read_text())
    change(document["results"]["benchmarks"]["decode"])
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as refused:
        gate.load_run(path)
    assert told in str(refused.value) and str(refused.value).endswith("; record one: pytest benchmarks/ --hgedge-save")


def test_fewer_than_30_rounds_of_this_run_are_refused_too():
    with pytest.raises(ConfigError, match="decode has 29 samples, but a verdict needs 30"):
        gate.compare({}, {"decode": simulated(0, rounds=29)})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--hgedge-baseline=missing.json"], "there is no baseline missing.json; record one: pytest benchmarks/"),
        (["--hgedge-baseline", "benchmarks"], "benchmarks is a folder; put it before --hgedge-baseline"),
        (["--hgedge-baseline", "--hgedge-save"], "--hgedge-baseline compares with what --hgedge-save replaces"),
    ],
)
def test_pytest_refuses_before_it_times(request, options, told):
    pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: pip install 'hgedge[bench]'")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "benchmarks/bench_gate.py", *options]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR and told in done.stderr
