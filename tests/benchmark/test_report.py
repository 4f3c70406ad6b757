"""Reports of a bench, with names that mean something to HTML, Markdown, mathematics and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgedge.benchmark.report import columns, report_files
from hgedge.benchmark.report.csv import text as csv_text
from hgedge.benchmark.report.markdown import text as markdown_text
from hgedge.errors import ConfigError

EVIL = '<img src=x onerror=alert(1)> $x_1$ | *b* & "c"'
FORMULA = "=HYPERLINK(0)"
JOINTS = [f"joint_{number}" for number in range(30)]  # more than are drawn one by one
VOID = ("meta", "br", "img", "link")


def row(name: str, median: float, **changes: Any) -> dict[str, Any]:
    """A row as `hgedge.benchmark.bench` makes them."""
    rng = np.random.default_rng(len(name))
    shares = {"preprocess": 0.1, "engine": 0.8, "decode": 0.1, "end_to_end": 1.0}
    samples = {stage: (median * share * rng.uniform(0.9, 1.2, 40)).tolist() for stage, share in shares.items()}
    latency = {
        stage: {
            **{f"p{p}": float(np.percentile(taken, p)) for p in (50, 95, 99)},
            "p50_interval": {"low": float(np.median(taken)) * 0.99, "high": float(np.median(taken)) * 1.01},
        }
        for stage, taken in samples.items()
    }
    layer = {"name": f"{EVIL}.conv", "kind": "Convolution", "precision": "int8", "stack": 0, "ms": median / 20}
    return {
        "name": name, "bundle": name, "is_baseline": False, "baseline": "default FP32, PyTorch",
        "model": {"name": EVIL}, "backend": "openvino", "precision": "int8", "latency_ms": latency,
        "samples_ms": samples, "fps": 1e3 / latency["end_to_end"]["p50"], "ratio_to_baseline": 40 / median,
        "ratio_interval": {"low": 39 / median, "high": 41 / median}, "verdict": "faster", "engine_bytes": 3 << 20,
        "peak_memory_mib": 170.0, "cold_start": {"total_ms": 900.0}, "energy": None, "metric": "PCK@0.2 pooled",
        "accuracy": {"PCK@0.2 pooled": 61.5}, "accuracy_intervals": {"PCK@0.2 pooled": {"low": 58.0, "high": 64.0}},
        "drop": {"PCK@0.2 pooled": 0.25}, "drop_intervals": {"PCK@0.2 pooled": {"low": -0.5, "high": 1.0}},
        "drop_per_keypoint": {joint: None if number == 3 else number / 10 for number, joint in enumerate(JOINTS)},
        "layers": [{**layer, "gmac_per_s": 300.0}, {**layer, "precision": "u4", "stack": None, "gmac_per_s": None}],
        **changes,
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    return some_document()


def some_document() -> dict[str, Any]:
    first = row("default FP32, PyTorch", 40.0, is_baseline=True, verdict=None, ratio_to_baseline=1.0, layers=None)
    first |= {"precision": "fp32", "backend": "torch", "engine_bytes": 7 << 20}
    level = row(FORMULA, 39.0, verdict="level", layers=None, metric="PCK@0.2 pooled")
    return {
        "taken": "2026-01-02 03:04+00:00",
        "machine": "some-cpu-2core",
        "environment": {"device": {"name": "Some <CPU>", "features": ["avx2"]}, "cores": 2, "hgedge": "0.1.0"},
        "picture": {"name": "a.jpg", "width": 64, "height": 48},
        "data": {"name": "people", "folder": "people", "split": "val", "people": 20},
        "frames": 40,
        "noise_floor": 0.031,
        "noisy": False,
        "other_processes": {"share": 0.2, "busiest": "<make> (pid 7)"},
        "rows": [first, row(EVIL, 8.0), level],
    }


class Page(HTMLParser):
    """The tags of a page, each closed, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
    from hgedge.benchmark.report.html import page

    return page(some_document())


def test_the_page_stands_alone_and_takes_names_as_text(page):
    parsed = Page(page)
    kinds = {tag for tag, _ in parsed.tags}
    assert not kinds & {"script", "img", "iframe", "link", "object", "embed"}
    for tag, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert all(value.startswith("#") for name, value in attributes.items() if name in ("src", "href", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import", page)
    told = "".join(parsed.text)
    assert all(name in told for name in (EVIL, FORMULA, "Some <CPU>"))
    assert [attributes["aria-label"] for tag, attributes in parsed.tags if tag == "svg"] == [
        "Latency", "Where the time goes", "Accuracy against latency", "Joint by joint", f"Layers of {EVIL}",
    ]  # fmt: skip


def test_the_plots_take_the_page_s_colours_and_show_mathematics_as_text(page):
    from hgedge.benchmark.report import plots

    assert not any(color in page for color in plots.PAGE_COLORS)
    assert "var(--text)" in page and "$x_1$" in page
    assert "joint 29" in page and "joint 5<" not in page, "of many joints those that lose most are drawn"


def test_noise_is_told_first(document):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
    from hgedge.benchmark.report.html import page

    document["noisy"] = True
    text = page(document)
    assert text.index("NOISY: other processes took 20 % of the CPU meanwhile, most of it &lt;make&gt;") < text.index(
        "<table"
    )
    assert "NOISY" in markdown_text(document)


def test_a_page_of_latency_alone(document):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
    from hgedge.benchmark.report.html import page

    document["data"] = None
    for each in document["rows"]:
        each |= {"metric": None, "accuracy": {}, "drop": {}, "drop_intervals": {}, "layers": None}
    labels = [each["aria-label"] for tag, each in Page(page(document)).tags if tag == "svg"]
    assert labels == ["Latency", "Where the time goes"]
    document["rows"] = document["rows"][:1]
    assert "baseline" in page(document)


def test_markdown(document):
    lines = markdown_text(document).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {13, 6}
    assert r"\<img src=x onerror=alert(1)\>" in tables[3] and "$x" in tables[3]
    assert "5.00x (4.88 to 5.12)" in tables[3] and "0.25 (-0.50 to 1.00)" in tables[3] and "level: 1.03x" in tables[4]
    assert any("noise floor 3.1 %" in line for line in lines) and any(
        "20 people of people 'val'" in line for line in lines
    )


def test_csv(document):
    rows = list(csv.DictReader(io.StringIO(csv_text(document))))
    assert [each["engine"] for each in rows] == ["default FP32, PyTorch", EVIL, f"'{FORMULA}"]
    assert {each["machine"] for each in rows} == {"Some <CPU>, 2 cores"}
    for each, told in zip(rows, document["rows"]):
        assert float(each["end_to_end_ms_p99"]) == told["latency_ms"]["end_to_end"]["p99"]
        assert float(each["ratio_to_baseline"]) == told["ratio_to_baseline"]
        assert float(each["PCK@0.2 pooled lost high"]) == 1.0
    assert [each["verdict"] for each in rows] == ["baseline", "faster", "level"]


def test_columns_of_energy_and_of_ap(document):
    shown = [column.heading for column in columns.columns(document)]
    assert "mJ a pose" not in shown
    document["rows"][1]["energy"] = {"mj_a_pose": 41.6}
    document["rows"][1]["accuracy"]["AP"] = 70.04
    told = {column.heading: column.tell(document["rows"][1]) for column in columns.columns(document)}
    assert (told["mJ a pose"], told["AP %"]) == ("42", "70.0")


def test_files_are_whole_or_absent(document, tmp_path):
    kept = tmp_path / "bench.json"
    kept.write_text("of yesterday")
    with pytest.raises(RuntimeError), report_files([kept, tmp_path / "bench.csv"]) as write:
        write(document)
        raise RuntimeError
    assert kept.read_text() == "of yesterday" and list(tmp_path.iterdir()) == [kept]
    with report_files([kept]) as write:
        write(document)
    assert json.loads(kept.read_text()) == document


def test_files_are_refused_before_anything_is_measured(tmp_path):
    for targets, message in (
        ([tmp_path / "bench.pdf"], "must end in .html or .md or .csv or .json"),
        ([tmp_path / "none" / "bench.md"], "there is no folder"),
        ([tmp_path / "a.md", tmp_path / "." / "a.md"], "each file of --report must have its own name"),
    ):
        with pytest.raises(ConfigError, match=message), report_files(targets):
            raise AssertionError("it must not come here")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(browser, page, tmp_path: Path, width: int, scheme: str):
    path = tmp_path / "bench.html"
    path.write_text(page, encoding="utf-8")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    plots = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map(svg => [svg.clientWidth, svg.clientHeight,"
        " svg.querySelectorAll('path').length, svg.querySelectorAll('text').length])"
    )
    assert len(plots) == 5
    for wide, high, paths, texts in plots:
        assert 200 < wide < width and high > 60 and paths > 5 and texts > 5
    ink, back = browser.execute_script(
        "return [getComputedStyle(document.querySelector('svg text')).fill,"
        " getComputedStyle(document.querySelector('.card')).backgroundColor]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in (back, ink))
    assert (light > dark + 200) if scheme == "light" else (dark > light + 200)
    assert browser.get_log("browser") == []
