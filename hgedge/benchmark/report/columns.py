"""What the tables of a bench show of each row: the same in a terminal, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

MIB = 2**20
WITH_INTERVALS = ("speed-up", "points lost")  # columns whose text ends in brackets
STAGES = {"preprocess": "preprocess", "engine": "engine", "decode": "decode", "end_to_end": "end to end"}


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and what it tells of a row."""

    heading: str
    tell: Callable[[Row], str]


def parts(column: Column, row: Row) -> tuple[str, str]:
    """What a column tells of a row, and apart from it the interval, if it has one."""
    told = column.tell(row)
    if column.heading not in WITH_INTERVALS:
        return told, ""
    value, _, interval = told.partition(" (")
    return value, interval.rstrip(")")


def columns(document: Mapping[str, Any]) -> list[Column]:
    """The columns that the rows of a document have something for; the engine's name first."""
    rows = document["rows"]
    found = [
        Column("engine", lambda row: row["name"]),
        Column("precision", lambda row: row["precision"]),
        Column("p50 ms", lambda row: milliseconds(row["latency_ms"]["end_to_end"]["p50"])),
        Column("p95", lambda row: milliseconds(row["latency_ms"]["end_to_end"]["p95"])),
        Column("p99", lambda row: milliseconds(row["latency_ms"]["end_to_end"]["p99"])),
        Column("fps", lambda row: f"{row['fps']:.1f}"),
        Column("speed-up", speed_up),
        Column("engine MiB", lambda row: f"{row['engine_bytes'] / MIB:.1f}"),
        Column("memory MiB", lambda row: f"{row['peak_memory_mib']:.0f}"),
        Column("cold start s", lambda row: f"{row['cold_start']['total_ms'] / 1e3:.1f}"),
    ]
    if any(row["energy"] for row in rows):
        found.append(Column("mJ a pose", lambda row: f"{row['energy']['mj_a_pose']:.0f}" if row["energy"] else ""))
    metrics = dict.fromkeys(row["metric"] for row in rows if row["metric"])
    for metric in [*metrics, *(["AP"] if any("AP" in row["accuracy"] for row in rows) else [])]:
        found.append(Column(f"{metric} %", lambda row, metric=metric: percent(row["accuracy"].get(metric))))  # type: ignore[misc]
        found.append(Column("points lost", lambda row, metric=metric: points_lost(row, metric)))  # type: ignore[misc]
    return found


def stage_columns() -> list[Column]:
    """A column for each stage: p50, p95 and p99."""
    return [
        Column("engine", lambda row: row["name"]),
        *(Column(heading, lambda row, stage=stage: stage_ms(row, stage)) for stage, heading in STAGES.items()),  # type: ignore[misc]
    ]


def stage_ms(row: Row, stage: str) -> str:
    """A stage's p50, p95 and p99 in milliseconds."""
    return " / ".join(milliseconds(row["latency_ms"][stage][p]) for p in ("p50", "p95", "p99"))


def speed_up(row: Row) -> str:
    """How many times faster than its baseline, and how sure; "level" where that is within the run's own noise."""
    if row["is_baseline"]:
        return "baseline"
    interval = row["ratio_interval"]
    told = f"{row['ratio_to_baseline']:.2f}x ({interval['low']:.2f} to {interval['high']:.2f})"
    return f"level: {told}" if row["verdict"] == "level" else told


def points_lost(row: Row, metric: str) -> str:
    """A drop with its interval; a baseline has none."""
    if row["is_baseline"] or row["drop"].get(metric) is None:
        return ""
    interval = row["drop_intervals"].get(metric)
    told = f"{row['drop'][metric]:.2f}"
    return told if interval is None else f"{told} ({interval['low']:.2f} to {interval['high']:.2f})"


def milliseconds(value: float) -> str:
    """With as many decimals as are of use: 0.043, 4.13, 51.2, 1240."""
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 1000 else 0}f}"


def percent(value: float | None) -> str:
    """Of a metric; nothing where it is not known."""
    return "" if value is None else f"{value:.1f}"


def conditions(document: Mapping[str, Any]) -> list[str]:
    """How the numbers came about, a sentence each."""
    picture, data = document["picture"], document["data"]
    others = document["other_processes"]
    told = [
        f"{document['frames']} frames an engine, taken in turn after warm-up, one person of "
        f"{picture['name']} ({picture['width']} x {picture['height']}); speed-ups with 95 % intervals, "
        f"noise floor {100 * document['noise_floor']:.1f} %.",
    ]
    if data is not None:
        told.append(
            f"Accuracy on {data['people']} people of {data['name']} {data['split']!r}; "
            "points lost against the baseline, with 95 % intervals (people drawn again, the same for both)."
        )
    if document["noisy"]:
        told.append(
            f"NOISY: other processes took {100 * others['share']:.0f} % of the CPU meanwhile, most of it "
            f"{others['busiest']}; these latencies prove nothing."
        )
    return told


def machine(document: Mapping[str, Any]) -> str:
    """The machine in a line."""
    found = document["environment"]
    gpu = f", {found['gpu']['name']}" if "gpu" in found else ""
    return f"{found['device']['name']}, {found['cores']} cores{gpu}"
