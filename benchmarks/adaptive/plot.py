"""Accuracy against mean latency: fixed numbers of stacks as points, the rule as a curve."""

from matplotlib.figure import Figure

from benchmarks.adaptive.rule import METRICS

FIXED, RULES, FAINT = "#1f6f8b", {"mean": "#b5483a", "max": "#d99a2b"}, "#b8c4c9"


def plot(path, document):
    """Draw what `test_people` found, in points against all stacks, with 95 % intervals."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), METRICS):
        fixed = list(document["fixed"].values())
        draw(axes, fixed, metric, color=FIXED, marker="s", label="fixed stacks, and the line between them")
        for count, row in document["fixed"].items():
            place = row["latency_ms"]["mean"], row["over all stacks"][metric]["points"]
            axes.annotate(str(count), place, xytext=(6, -12), textcoords="offset points", color=FIXED)
        for kind, color in RULES.items():
            rows = [row for row in document["rules"] if row["kind"] == kind]
            draw(axes, rows, metric, color=color, marker="o", markersize=4, label=f"rule: {kind} distance of joints")
        best = document["best stack of each"][metric]["over all stacks"]["points"]
        axes.axhline(best, color=FAINT, linestyle="--", label="each person's best stack: no rule does better")
        axes.set(xlabel="mean latency, ms: engine and decoding", ylabel=f"{metric}, points over all stacks")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    figure.savefig(path, dpi=120)


def draw(axes, rows, metric, **style):
    ms = [row["latency_ms"]["mean"] for row in rows]
    told = [row["over all stacks"][metric] for row in rows]
    points = [each["points"] for each in told]
    off = [[p - each["low"] for p, each in zip(points, told)], [each["high"] - p for p, each in zip(points, told)]]
    axes.errorbar(ms, points, yerr=off, linewidth=1.2, elinewidth=0.8, capsize=2, **style)
