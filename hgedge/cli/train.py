"""`hgedge train`."""

from __future__ import annotations

from hgedge import records
from hgedge.cli import options
from hgedge.cli.terminal import Terminal


def train(terminal: Terminal, config: options.Config) -> None:
    """Train a network, or go on with a run that was interrupted."""
    from hgedge.training.config import TrainingConfig

    run = records.from_toml(TrainingConfig, config)
    from hgedge.training.loop import train as train_run

    with terminal.progress() as progress:
        checkpoint = train_run(run, progress)
    line = f"checkpoint: {checkpoint}\nnext:       hgedge build {checkpoint}"
    terminal.result({"checkpoint": str(checkpoint)}, lambda console: console.print(line, soft_wrap=True, markup=False))
