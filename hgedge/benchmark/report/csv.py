"""The document of a bench as CSV: a line an engine, numbers without units, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from hgedge.benchmark.report.columns import STAGES, machine

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how texts begin that a spreadsheet would run


def text(document: Mapping[str, Any]) -> str:
    """A heading line, then a line a row; metrics that rows do not share are left empty."""
    lines = [_line(document, row) for row in document["rows"]]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(document: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    latency = {f"{stage}_ms_{p}": row["latency_ms"][stage][p] for stage in STAGES for p in ("p50", "p95", "p99")}
    accuracy = {name: value for name, value in row["accuracy"].items()}
    drops = {f"{name} lost": value for name, value in row["drop"].items()}
    ends = {
        f"{name} lost {end}": interval[end]
        for name, interval in row["drop_intervals"].items()
        for end in ("low", "high")
    }
    texts = {
        "engine": row["name"],
        "model": row["model"]["name"],
        "backend": row["backend"],
        "precision": row["precision"],
        "machine": machine(document),
    }
    return {
        **{name: _inert(value) for name, value in texts.items()},
        "noisy": document["noisy"],
        **latency,
        "fps": row["fps"],
        "ratio_to_baseline": row["ratio_to_baseline"],
        "ratio_low": row["ratio_interval"]["low"],
        "ratio_high": row["ratio_interval"]["high"],
        "verdict": row["verdict"] or "baseline",
        "noise_floor": document["noise_floor"],
        "engine_bytes": row["engine_bytes"],
        "peak_memory_mib": row["peak_memory_mib"],
        "cold_start_ms": row["cold_start"]["total_ms"],
        **({"mj_a_pose": row["energy"]["mj_a_pose"]} if row["energy"] else {}),
        **accuracy,
        **drops,
        **ends,
    }


def _inert(value: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(FORMULAS) else value
