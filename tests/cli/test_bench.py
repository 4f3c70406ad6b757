"""`hgedge bench`, as users and scripts meet it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from rich.console import Console

from hgedge.cli.bench import show
from hgedge.cli.main import main

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

QUICK = ("--frames", "30", "--allow-noise")
LATENCY = {"preprocess", "engine", "decode", "end_to_end"}


@pytest.fixture
def program(tmp_path, monkeypatch, capfd):
    """program("--json"): exit code, stdout and stderr of `hgedge bench` in a folder of its own; no time decides."""
    monkeypatch.setattr("hgedge.benchmark.stages.WARMUP_S", 0.2)
    monkeypatch.setattr("hgedge.benchmark.rows.COLD_RUNS", 1)
    monkeypatch.setattr("hgedge.benchmark.bench.PATIENCE_S", 1.0)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = main(["bench", *map(str, arguments)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return code, *capfd.readouterr()

    return run


def test_json_reports_and_tables(program, bundle, tiny_checkpoint, tmp_path):
    code, stdout, stderr = program(
        bundle, "--baseline", tiny_checkpoint, *QUICK, "--json", "--report", "a.md", "--report", "b.csv"
    )
    assert code == 0, stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.csv"]
    document = json.loads(stdout)
    assert document.keys() >= {"environment", "rows", "noise_floor", "machine", "noisy"}
    first, second = document["rows"]
    assert (first["backend"], first["precision"], first["ratio_to_baseline"]) == ("torch", "fp32", 1.0)
    assert (second["bundle"], second["backend"], second["precision"]) == (str(bundle), "openvino", "fp32")
    for row in document["rows"]:
        assert row.keys() >= {"fps", "accuracy", "drop", "ratio_to_baseline", "verdict"}
        assert row["latency_ms"].keys() == LATENCY
        assert all(row["latency_ms"][stage].keys() >= {"p50", "p95", "p99"} for stage in LATENCY)

    for width in (60, 120):
        console = Console(width=width, force_terminal=True, color_system=None, record=True, highlight=False)
        with console.capture() as shown:
            show(console, document, [Path("a.md")])
        lines = shown.get().splitlines()
        tables = [line for line in lines if "frames an engine" not in line and "NOISY" not in line]
        assert max(map(len, tables)) <= width
        assert any("tiny FP32, PyTorch" in line for line in lines) and "saved: a.md" in lines


def test_the_bundles_in_engines_are_measured_when_none_is_named(program, bundle, tmp_path):
    code, _, stderr = program(*QUICK)
    assert code == 2 and "no bundle is named, and none in engines fits this machine; make one with:" in stderr
    (tmp_path / "engines").symlink_to(bundle.parent)
    code, stdout, stderr = program(*QUICK)
    assert code == 0, stderr
    assert bundle.name in stdout and "baseline" in stdout and "noise floor" in stdout


def test_a_noisy_machine_ends_with_2_and_leaves_nothing(program, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("hgedge.benchmark.quiet.LIMIT", -1.0)  # any machine is too noisy
    code, stdout, stderr = program(bundle, "--report", "a.md", "--json")
    assert (code, stdout) == (2, "") and "% of the CPU" in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frames", "29"), "--frames must be 30 or more"),
        (("--split", "val"), "--split and --limit are of a data set"),
        (("--report", "bench.pdf"), "must end in .html or .md or .csv or .json"),
        (("--report", "no/bench.md"), "there is no folder"),
        (("--data", "nowhere"), "nowhere"),
        (("--baseline", "default"), "--baseline default must be what the bundles were made from"),
        (("--baseline", "nothing.pth"), "no such file"),
        (("nowhere",), "nowhere does not exist; make one with: hgedge build"),
    ],
)
def test_wrong_use(program, bundle, tmp_path, words, message):
    code, stdout, stderr = program(bundle, *words, "--allow-noise")
    assert (code, stdout) == (2, "") and message in stderr
    assert stderr.splitlines()[-1].startswith("error: ") and list(tmp_path.iterdir()) == []
