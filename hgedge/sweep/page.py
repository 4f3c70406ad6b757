"""The sweep as a page in one file: the picture, the recommendations, the table."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hgedge.sweep.grid import size_text

HEADINGS = (
    "",
    "stacks",
    "input",
    "precision",
    "ms",
    "x baseline",
    "accuracy, %",
    "95 %",
    "points below the best",
    "95 %",
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #23303a; max-width: 1100px; margin: 2em auto; padding: 0 1em }
img { width: 100%; height: auto } table { border-collapse: collapse; width: 100% }
td, th { padding: .2em .6em; text-align: right; border-bottom: 1px solid #dde3e6 }
th { position: sticky; top: 0; background: white }
td:nth-child(4), th:nth-child(4) { text-align: left } tr.front { font-weight: 600; color: #b5483a }
p.small { color: #5b6770; font-size: 13px }
"""
Row = Mapping[str, Any]


def page(document: Mapping[str, Any], picture: bytes) -> str:
    """The HTML of a document of `hgedge sweep`, with its picture (PNG) inside."""
    title = f"{document['model']} on {document['backend']}: stacks x input sizes x precisions"
    machine, latency = document["environment"], document["latency"]
    about = (
        f"{document['metrics']['loose']} of {document['num_people']} people of {document['data']} "
        f"{document['split']!r}. {machine['device']['name']}, {machine['cores']} cores. {latency['how']} Baseline: "
        f"{latency['baseline']['name']}, {latency['baseline']['latency_ms']['p50']:.2f} ms."
    )
    wishes = "".join(
        f"<li><b>{escape(each['wish'])}</b>: {escape(each['said'])}"
        + (f"<br><code>hgedge build {escape(each['recipe'])}</code></li>" if each["recipe"] else "</li>")
        for each in document["recommendations"]
    )
    encoded = base64.b64encode(picture).decode()
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in document["remarks"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>{remarks}
<ul>{wishes}</ul>
<img alt="Accuracy against latency" src="data:image/png;base64,{encoded}">
<table><thead><tr>{_cells(HEADINGS, "th")}</tr></thead><tbody>{_body(document["rows"])}</tbody></table>
<p class="small">{escape(about)}</p>
</body></html>
"""


def _body(rows: Sequence[Row]) -> str:
    known = sorted((row for row in rows if row["accuracy"] is not None), key=lambda row: row["latency_ms_p50"])
    told = [f"<tr{' class=front' * row['pareto']}>{_cells(cells(row))}</tr>" for row in known]
    told += [
        f"<tr><td></td><td colspan=9>{escape(row['name'])}: {escape(row['failed'])}</td></tr>"
        for row in rows
        if "failed" in row
    ]
    return "\n".join(told)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, as `HEADINGS`."""
    interval, below = row["interval"], row["below_best"]
    return (
        "*" if row["pareto"] else "",
        str(row["num_stacks"]),
        size_text(tuple(row["input_hw"])),
        " ".join(filter(None, (row["precision"], row["placement"]))),
        f"{row['latency_ms_p50']:.2f}",
        f"{row['ratio_to_baseline']:.2f}",
        f"{row['accuracy']:.2f}",
        f"{interval['low']:.1f} to {interval['high']:.1f}",
        f"{below['points']:.2f}",
        f"{below['low']:.2f} to {below['high']:.2f}",
    )


def _cells(texts: Sequence[str], tag: str = "td") -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
