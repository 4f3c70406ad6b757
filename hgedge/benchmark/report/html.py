"""The document of a bench as a page: one file, no scripts, nothing fetched; for phones and desks, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from hgedge.benchmark.report import plots
from hgedge.benchmark.report.columns import (
    Column,
    columns,
    conditions,
    machine,
    milliseconds,
    parts,
    points_lost,
    stage_columns,
)
from hgedge.benchmark.report.markdown import facts

PAGE = Path(__file__).with_name("page.html")
LISTED = 40  # layers in a table
MARKS = {"faster": "good", "slower": "bad"}
LAYER_COLUMNS = (
    Column("layer", lambda layer: layer["name"]),
    Column("kind", lambda layer: layer["kind"]),
    Column("precision", lambda layer: layer["precision"]),
    Column("stack", lambda layer: "" if layer["stack"] is None else str(layer["stack"])),
    Column("ms", lambda layer: milliseconds(layer["ms"])),
    Column("GMAC/s", lambda layer: "" if layer["gmac_per_s"] is None else f"{layer['gmac_per_s']:.0f}"),
)

Row = Mapping[str, Any]


def page(document: Mapping[str, Any]) -> str:
    """The page. All text of bundles is escaped."""
    rows = document["rows"]
    models = ", ".join(dict.fromkeys(row["model"]["name"] for row in rows))
    where, told = machine(document), conditions(document)
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(f"{models} on {where}"),
        subtitle=escape(f"{len(rows)} engines, {document['frames']} frames each · {document['taken']}"),
        warning=f'<p class="noisy">{escape(told[-1])}</p>' if document["noisy"] else "",
        figures="".join(_figure(*each) for each in headline(document)),
        ratios=escape(f"Speed-ups with 95 % intervals; noise floor {100 * document['noise_floor']:.1f} %."),
        engines=_table(columns(document), rows, plots.colors(rows)),
        plots="".join(_plots(rows, where)),
        stages=_table(stage_columns(), rows, plots.colors(rows)),
        layers="".join(_layers(row, where) for row in rows if row["layers"]),
        environment="".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(document).items()
        ),
        conditions="<br>".join(map(escape, [f"{where}.", *told, f"hgedge {document['environment']['hgedge']}"])),
    )


def headline(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Number and meaning of what a reader wants to know first: of the engine that gains most, or of what there is."""
    rows = document["rows"]
    best = max(rows, key=lambda row: (row["verdict"] == "faster", row["ratio_to_baseline"]))
    baseline = next(row for row in rows if row["name"] == best["baseline"])
    latency = best["latency_ms"]["end_to_end"]
    told = [
        (f"{milliseconds(latency['p50'])} ms", f"a frame, end to end, with {best['name']}"),
        (f"{best['fps']:.0f} fps", f"one frame after another; p99 {milliseconds(latency['p99'])} ms"),
    ]
    if best["verdict"] == "faster":
        told.insert(0, (f"{best['ratio_to_baseline']:.1f}×", f"as fast as {baseline['name']}"))
    if best["metric"]:
        lost, _, interval = points_lost(best, best["metric"]).partition(" ")
        told.append((lost or "0", f"points of {best['metric']} lost {interval}"))
    smaller = baseline["engine_bytes"] / best["engine_bytes"]
    if smaller > 1:
        told.append((f"{best['engine_bytes'] / 2**20:.1f} MiB", f"on disk, {smaller:.1f}× smaller"))
    return told


def _figure(number: str, meaning: str) -> str:
    return f'<div class="figure"><b>{escape(number)}</b><span>{escape(meaning)}</span></div>'


def _table(shown: Sequence[Column], rows: Sequence[Row], shades: Mapping[str, str] | None = None) -> str:
    """A table whose rows become blocks on narrow screens; shades (name -> colour) give each row a dot."""
    heads = "".join(f"<th>{escape(column.heading)}</th>" for column in shown)
    lines = []
    for row in rows:
        dot = f'<span class="dot" style="background:{shades[row["name"]]}"></span>' if shades else ""
        first, *others = (_cell(column, row) for column in shown)
        lines.append(f"<tr>{first.replace('>', f'>{dot}', 1)}{''.join(others)}</tr>")
    return f'<table class="stacks"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _cell(column: Column, row: Row) -> str:
    value, rest = parts(column, row)
    small = f"<small>{escape(rest)}</small>" if rest else ""
    kind = MARKS.get(row.get("verdict") or "", "") if column.heading == "speed-up" else ""
    told = f'<span><span class="{kind}">{escape(value)}</span>{small}</span>' if value else ""
    return f'<td data-label="{escape(column.heading)}">{told}</td>'


def _plots(rows: Sequence[Row], where: str) -> list[str]:
    """The plots that rows have something for."""
    scored = all(row["metric"] for row in rows) and len({row["metric"] for row in rows}) == 1
    every = plots.colors(rows)
    shades = _legend(every)
    compared = _legend({row["name"]: every[row["name"]] for row in rows if not row["is_baseline"]})
    steps = _legend(plots.STAGE_COLORS)
    steady = "Every frame that was timed: further left is faster, steeper is steadier."
    found = [
        ("Latency", steady, plots.latency(rows), shades),
        (
            "Where the time goes",
            "Shares of the stages' medians; beside them, the median of a whole frame.",
            plots.stages(rows),
            steps,
        ),
    ]
    if scored:
        metric = rows[0]["metric"]
        found.append(
            (
                "Accuracy against latency",
                "Up and left is better; lines are 95 % intervals.",
                plots.accuracy(rows, metric),
                shades,
            )
        )
        if any(not row["is_baseline"] for row in rows):
            found.append(
                ("Joint by joint", "Right of zero is lost, left is gained.", plots.joints(rows, metric), compared)
            )
    return [_card(title, note, _figure_of(svg, title, where, legend)) for title, note, svg, legend in found]


def _layers(row: Row, where: str) -> str:
    """What each layer takes: drawn, and as a table."""
    timed = row["layers"]
    precisions = {layer["precision"]: plots.PRECISIONS.get(layer["precision"], plots.OTHER) for layer in timed}
    total = sum(layer["ms"] for layer in timed)
    shares = ", ".join(
        f"{name} {sum(layer['ms'] for layer in timed if layer['precision'] == name) / total:.0%}" for name in precisions
    )
    note = f"{len(timed)} layers, {milliseconds(total)} ms by the engine's own profiler: {shares}."
    worst = sorted(timed, key=lambda layer: -layer["ms"])[:LISTED]
    title = f"Layers of {row['name']}"
    drawn = _figure_of(plots.layers(timed), title, where, _legend(precisions))
    listed = f"<details><summary>The {len(worst)} that take longest</summary>{_table(LAYER_COLUMNS, worst)}</details>"
    return _card(title, note, drawn + listed)


def _card(title: str, note: str, content: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{content}</section>'


def _figure_of(svg: str, title: str, where: str, legend: str) -> str:
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return f"<figure>{legend}{named}<figcaption>{escape(where)}</figcaption></figure>"


def _legend(shades: Mapping[str, str]) -> str:
    items = (
        f'<li><span class="dot" style="background:{color}"></span>{escape(name)}</li>' for name, color in shades.items()
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
