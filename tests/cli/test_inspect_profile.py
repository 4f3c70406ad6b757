"""`hgedge inspect --profile`, by the program and as a page."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hgedge import bundle as bundles
from hgedge.cli.inspect import engine_document, graph_document, show
from hgedge.cli.inspect_profile import INDENT, WORST, stacks_of, summary_text
from hgedge.cli.main import main
from hgedge.models.zoo import shipped_half
from hgedge.spec import BackendInfo, DeviceInfo


@pytest.fixture(scope="module")
def document(bundle: Path, program_environment: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "hgedge", "inspect", bundle, "--profile", "--runs", "30", "--json"]
    done = subprocess.run(command, env=program_environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def page(document: dict, width: int, layers: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console, document, layers)
    return console.file.getvalue()


def test_json_is_that_of_inspect_and_the_profile(bundle: Path, document: dict) -> None:
    plain = bundles.inspect(bundle) | graph_document(bundle) | engine_document(bundle)
    assert {name: document[name] for name in document if name != "profile"} == json.loads(json.dumps(plain))
    profile = document["profile"]
    layers = profile["layers"]
    assert profile["runs"] == 30 and profile["engine_ms"] > 0
    assert profile["layers_ms"] == pytest.approx(sum(layer["ms"] for layer in layers))
    assert sum(layer["gmacs"] or 0 for layer in layers) == pytest.approx(document["model"]["gmacs"], abs=1e-4)
    assert {layer["name"] for layer in layers if layer["gmacs"]} == set(document["engine"]["layers"])
    for layer in layers:
        assert layer["share"] == pytest.approx(layer["ms"] / profile["layers_ms"])
        assert layer.keys() == {"name", "kind", "precision", "stack", "ms", "gmacs", "nodes", "share", "gmac_per_s"}
    for groups in (profile["stacks"], profile["precisions"].values()):
        assert sum(group["layers"] for group in groups) == len(layers)
        assert sum(group["ms"] for group in groups) == pytest.approx(profile["layers_ms"])
        assert sum(group["share"] for group in groups) == pytest.approx(1)
    assert [group["stack"] for group in profile["stacks"]] == [None, 0, 1]
    assert "fp32" in profile["precisions"]


def rows_of(text: str) -> list[str]:
    """Lines of the table, from its head to the blank line before what is said of it."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("layer "))
    end = next(number for number, line in enumerate(lines) if line.startswith("All "))
    return [line.rstrip() for line in lines[start + 1 : end] if line.strip()]


def test_the_slowest_come_first_in_each_stack(document: dict) -> None:
    rows = rows_of(page(document, 120))
    layers = document["profile"]["layers"]
    stacks = stacks_of(layers)
    titles = [row for row in rows if not row.startswith(INDENT)]
    assert [title.split(":")[0] for title in titles] == ["in no stack", "stack 0", "stack 1"]
    for title, group in zip(titles, document["profile"]["stacks"]):
        assert f"{group['layers']} layers" in title and f"{group['ms']:.3f}" in title
        shown = rows[rows.index(title) + 1 :][:WORST]
        slowest = sorted((row for row in layers if row["stack"] == group["stack"]), key=lambda row: -row["ms"])[:WORST]
        assert [row.split()[0] for row in shown] == [row["name"] for row in slowest]
        assert [f"{row['ms']:.3f}" in line for row, line in zip(slowest, shown)] == [True] * len(shown)
        others = rows[rows.index(title) + 1 + WORST]
        assert others.split()[:2] == [str(group["layers"] - WORST), "others"]
        rest = sum(row["ms"] for row in stacks[group["stack"]][WORST:])
        assert f"{rest:.3f}" in others
    every = rows_of(page(document, 120, layers=True))
    assert len(every) == len(layers) + len(titles)


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_cuts_nothing(document: dict, width: int) -> None:
    text = page(document, width, layers=True)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert all(layer["name"][:20] in text for layer in document["profile"]["layers"])
    assert text.startswith("bundle") and "\nskeleton" not in text  # what it is, and no more
    assert f"(medians of {document['profile']['runs']} runs)" in " ".join(text.split())


@pytest.mark.parametrize(
    ("engine_ms", "said"),
    [(2.5, "0.500 ms lie between the layers, before and after them"), (1.9, "as the profiler costs time itself")],
)
def test_the_sum_is_compared_with_the_engine(engine_ms: float, said: str) -> None:
    precisions = {"int8": {"share": 0.75}, "fp32": {"share": 0.25}, "?": {"share": 0.0}}
    text = summary_text(
        {"runs": 50, "engine_ms": engine_ms, "layers_ms": 2.0, "layers": [0] * 3, "precisions": precisions}
    )
    assert text.startswith("All 3 layers take 2.000 ms a crop, 75.0 % in int8, 25.0 % in fp32 (medians of 50 runs).")
    assert f"The engine takes {engine_ms:.3f} ms without the profiler: " in text and text.endswith(f"{said}.")


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]):
    """refused(path, ...): the exit code and the one line of `hgedge inspect --profile`."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        code = main(["inspect", "--profile", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert out == "" and len(err.splitlines()) == 1
        return code, err

    return run


def test_what_cannot_be_profiled_is_refused(refused, tmp_path: Path) -> None:
    code, said = refused(shipped_half("default"))
    assert code == 2 and "is a portable half without an engine; make one with: hgedge build" in said
    code, said = refused(shipped_half("default"), "--runs", "29")
    assert code == 2 and "--runs" in said and "30" in said
    code, said = refused(tmp_path / "nowhere", "--json")
    assert code == 2 and "nowhere does not exist" in said


def test_an_engine_for_what_is_not_here_is_refused(refused, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(shipped_half("default"), other)
    half = bundles.read_manifest(other)
    device = DeviceInfo("NVIDIA H200", "x86_64", ("sm_90",))
    bundles.seal(other, dataclasses.replace(half, backend=BackendInfo("tensorrt", "10.3.0"), device=device))
    code, said = refused(other)
    assert code == 3 and "cannot run here: " in said
