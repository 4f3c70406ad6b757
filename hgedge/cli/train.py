"""`hgedge train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hgedge import records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal

Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set, in place of the config's.")]
Output = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to, in place of the config's.")]


def train(terminal: Terminal, config: options.Config, data: Data = None, output: Output = None) -> None:
    """Train a network, or go on with a run that was interrupted; CONFIG may be the name of a recipe."""
    from hgedge.training.config import TrainingConfig, recipe_path

    run = records.from_toml(TrainingConfig, recipe_path(config))
    run = replace(run, data=str(data or run.data), output=str(output or run.output))
    from hgedge.training.distributed import rank
    from hgedge.training.loop import train as train_run

    with terminal.progress() as progress:
        trained = train_run(run, progress)
    if rank() > 0:  # of several processes the first one speaks
        return
    metric, best = trained.metric, trained.best
    document = {
        "checkpoint": str(trained.checkpoint),
        "epochs": trained.epochs,
        "best_epoch": best["epoch"],
        "metrics": {name: value for name, value in best.items() if name.partition("@")[0] == metric.partition("@")[0]},
    }
    text = (
        f"checkpoint: {trained.checkpoint}\n"
        f"best:       epoch {best['epoch']} of {trained.epochs}, {metric} {best[metric]:.2f}\n"
        f"next:       hgedge build {trained.checkpoint}"
    )
    terminal.result(document, lambda console: console.print(text, soft_wrap=True, markup=False))
