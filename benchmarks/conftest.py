"""What the benchmarks share: hg2 at 256x256 as engines, photographs, references, where results go, and the gate.

A fixed workload, none of it hgedge's, is timed after every round of a benchmark that takes `timed`: see
`hgedge.benchmark.gate`, which finds the verdicts that the hooks below print.
"""

import importlib.util
import json
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: a reference has a thread a core of its own

from pathlib import Path

import numpy as np
import pytest

import hgedge.datasets
from benchmarks.references import References, timed_rounds
from hgedge import geometry
from hgedge.benchmark import gate, quiet
from hgedge.benchmark.environment import environment, machine_name
from hgedge.builder import BuildOptions, build
from hgedge.errors import ConfigError, NoisyMachine
from hgedge.runtime.golden import run_one_by_one
from hgedge.runtime.pipeline import load
from hgedge.runtime.preprocess import crop

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEOPLE = 100
TIMED = pytest.StashKey[dict]()
ITEMS = pytest.StashKey[dict]()
BASELINE = pytest.StashKey[gate.Run]()
FINDINGS = pytest.StashKey[list]()
LSPET = Path(os.environ.get("HGEDGE_LSPET") or ROOT.parent / "shared" / "data" / "lspet")
NEEDS_OPENVINO = ["bench_floor.py", "bench_nncf.py"]  # as soon as they are imported
collect_ignore = NEEDS_OPENVINO if importlib.util.find_spec("openvino") is None else []


def pytest_addoption(parser):
    group = parser.getgroup("hgedge")
    group.addoption(
        "--hgedge-save",
        action="store_true",
        help="write results to benchmarks/results/<machine>/; what is timed becomes the baseline there",
    )
    group.addoption(
        "--hgedge-results", type=Path, default=RESULTS, metavar="DIR", help="instead of benchmarks/results/"
    )
    group.addoption(
        "--hgedge-baseline",
        nargs="?",
        const="",
        metavar="FILE",
        help="compare what is timed with a stored run of this class of machine, by default the one that --hgedge-save "
        "writes: exit 1 where something is slower, 2 where the machine is too noisy to tell",
    )
    group.addoption("--hgedge-noisy", action="store_true", help="time although other processes take the CPU")
    group.addoption("--hgedge-patience", type=float, default=30.0, metavar="S", help="wait so long for them to stop")
    group.addoption("--hgedge-peers", help="benchmarks/gpu/bench_peers.py: only those whose name holds one of a,b,c")


def pytest_configure(config):
    config.stash[TIMED], config.stash[ITEMS] = {}, {}
    if config.getoption("--hgedge-baseline") is None:
        return
    if config.getoption("--hgedge-save"):
        raise pytest.UsageError("--hgedge-baseline compares with what --hgedge-save replaces; use one of them")
    try:
        path = baseline_path(config)
        config.stash[BASELINE] = gate.load_run(path)
        gate.check_same_kind(path, config.stash[BASELINE], machine_name(), gate.versions_of(environment()))
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header():
    return [f"{', '.join(collect_ignore)} left out: OpenVINO is not installed"] if collect_ignore else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Run soak tests too where only such were named."""
    if config.option.markexpr == "not soak" and all(item.get_closest_marker("soak") for item in items):
        config.option.markexpr = ""


def pytest_deselected(items):
    for item in items:
        item.config.stash[ITEMS][benchmark_name(item)] = False


def pytest_collection_finish(session):
    config = session.config
    timing = [item for item in session.items if "timed" in item.fixturenames]
    config.stash[ITEMS].update({benchmark_name(item): True for item in timing})
    judged = config.getoption("--hgedge-save") or BASELINE in config.stash
    if timing and judged and not (config.getoption("--hgedge-noisy") or config.option.collectonly):
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        try:
            quiet.await_quiet(
                lambda stage, done, total: reporter.rewrite(f"{stage}: {done} of {total} s", erase=True),
                config.getoption("--hgedge-patience"),
            )
        except NoisyMachine as error:
            pytest.exit(f"too noisy: {str(error).replace('--allow-noise', '--hgedge-noisy')}", returncode=2)


def pytest_sessionfinish(session):
    config, now = session.config, session.config.stash[TIMED]
    if config.option.collectonly:
        return
    if BASELINE in config.stash:
        then = config.stash[BASELINE].benchmarks
        findings = gate.compare(then, now, left_out(session, then), not config.getoption("--hgedge-noisy"))
        config.stash[FINDINGS] = findings
        verdict = gate.exit_status(findings) if now else pytest.ExitCode.NO_TESTS_COLLECTED
        session.exitstatus = session.exitstatus or verdict
    elif now and config.getoption("--hgedge-save"):
        save_timed(config, now)


def left_out(session, then):
    """Benchmarks that were not asked for: deselected, of other files, or of the same where single tests were named."""
    asked = session.config.stash[ITEMS]
    files = {name.partition("::")[0] for name in asked}
    single = any("::" in argument for argument in session.config.args)
    return {name for name in then if not asked.get(name, not single and name.partition("::")[0] in files)}


def pytest_terminal_summary(terminalreporter, config):
    now = config.stash[TIMED]
    disturbed = [name for name, timed in now.items() if timed.taken > quiet.LIMIT]
    if config.getoption("--hgedge-save") and disturbed:
        terminalreporter.write_line(
            f"other processes took over {quiet.LIMIT:.0%} of the CPU, so time these again: {', '.join(disturbed)}",
            yellow=True,
        )
    if FINDINGS not in config.stash:
        return
    findings = config.stash[FINDINGS]
    terminalreporter.section(f"against {baseline_path(config)}")
    for line in gate.table(findings) if findings else []:
        terminalreporter.write_line(line)
    counts = {word: sum(found.verdict == word for found in findings) for word in gate.VERDICTS}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing was timed"
    change = gate.machine_change(config.stash[BASELINE].benchmarks, now)
    took = "" if change is None else f"; the references take {change:.2f} times as long as then"
    terminalreporter.write_line(f"{told}{took}", red=counts[gate.SLOWER] > 0, bold=True)


def baseline_path(config):
    given = config.getoption("--hgedge-baseline")
    if given and Path(given).is_dir():
        raise ConfigError(f"{given} is a folder; put it before --hgedge-baseline, or write --hgedge-baseline=FILE")
    return Path(given) if given else config.getoption("--hgedge-results") / machine_name() / "latency-baseline.json"


def save_timed(config, now):
    """What was timed becomes the baseline; of what was not, the stored samples stay if they are of the same kind."""
    path, here, versions = baseline_path(config), machine_name(), gate.versions_of(environment())
    try:
        stored = gate.load_run(path)
        gate.check_same_kind(path, stored, here, versions)
        now = {**stored.benchmarks, **now}
    except ConfigError:
        pass
    gate.save_run(path, gate.Run(here, versions, dict(sorted(now.items()))), environment())


def benchmark_name(item):
    return f"{item.path.stem}::{item.name}"


@pytest.fixture(scope="session")
def references():
    """Name -> what `hgedge.benchmark.gate` calls a reference, each made once, when it is asked for."""
    return References()


@pytest.fixture
def timed(benchmark, references, request):
    """timed(call, reference, calls=1): time rounds of so many calls, each followed by its reference; for the gate."""

    def run(call, reference, calls=1):
        taken = timed_rounds(benchmark, call, references, reference, calls)
        if taken is not None:
            request.config.stash[TIMED][benchmark_name(request.node)] = taken

    return run


@pytest.fixture(scope="session")
def save(request):
    """save(name, results): keep results as JSON, with the machine named, if --hgedge-save is given."""

    def write(name, results):
        if not request.config.getoption("--hgedge-save"):
            return
        folder = request.config.getoption("--hgedge-results") / machine_name()
        folder.mkdir(parents=True, exist_ok=True)
        document = {"environment": environment(), "results": results}
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")

    return write


@pytest.fixture(scope="session")
def lspet():
    if not LSPET.is_dir():
        pytest.skip(f"needs the data set LSPET at {LSPET}")
    return LSPET


@pytest.fixture(scope="session")
def val_crops(lspet):
    """The (100, 192, 192, 3) uint8 crops of people of LSPET val, whose heatmaps are compared."""
    people = hgedge.datasets.open(lspet, "val").people
    chosen = [people[index] for index in np.linspace(0, len(people) - 1, PEOPLE).astype(int)]
    out = np.empty((PEOPLE, 192, 192, 3), np.uint8)
    for person, buffer in zip(chosen, out):
        crop(person.read(), geometry.frame_from_input(person.box_xyxy, (192, 192)), buffer)
    return out


@pytest.fixture(scope="session")
def heatmaps_of(val_crops):
    """heatmaps_of(bundle): what its engine makes of `val_crops`."""

    def run(bundle):
        with load(bundle) as pipeline:
            return run_one_by_one(pipeline.session, val_crops)

    return run


def seeded(folder, num_stacks):
    """A checkpoint (256 features, 16 keypoints, 256x256) with seeded weights: speed does not depend on them."""
    import torch

    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import MPII16
    from hgedge.models.hourglass import HourglassConfig, HourglassNet
    from hgedge.spec import InputSpec

    torch.manual_seed(0)
    name = f"hg{num_stacks}-seeded"
    net = HourglassNet(HourglassConfig(num_stacks=num_stacks)).eval()
    save_checkpoint(folder / f"{name}.safetensors", net, name=name, input=InputSpec(), keypoints=MPII16)
    return folder / f"{name}.safetensors"


@pytest.fixture(scope="session")
def hg1(tmp_path_factory):
    return seeded(tmp_path_factory.mktemp("hg1"), 1)


@pytest.fixture(scope="session")
def hg2(tmp_path_factory):
    return seeded(tmp_path_factory.mktemp("hg2"), 2)


@pytest.fixture(scope="session")
def hg8(tmp_path_factory):
    return seeded(tmp_path_factory.mktemp("hg8"), 8)


@pytest.fixture(scope="session")
def hg2_int8(hg2, lspet, tmp_path_factory):
    """The build report of hg2 in INT8 for OpenVINO, calibrated on 128 pictures."""
    output = tmp_path_factory.mktemp("engines")
    return build(BuildOptions(model=str(hg2), precision="int8", backend="openvino", calibration=lspet, output=output))
