"""Files that an evaluation leaves, which can be refused before it starts: whole at its end, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hgedge.errors import ConfigError
from hgedge.evaluation.labels import Labels
from hgedge.evaluation.predictions import Predictions, save_predictions
from hgedge.evaluation.report import report
from hgedge.sinks.partial import partial_file, put_in_place

PREDICTIONS = (".npz",)
PLOTS = (".png", ".svg", ".pdf")
Save = Callable[[Predictions, Labels], None]
Draw = Callable[[dict[str, Any], "Predictions | None", Labels, str], None]


@contextmanager
def predictions_file(target: Path | None) -> Iterator[Save]:
    """What keeps predictions in a file, or nowhere if there is none.

    Raises:
        ConfigError: The file's name does not end in .npz, or it cannot be written.
    """
    if target is None:
        yield lambda predictions, labels: None
        return
    with whole_file(target, PREDICTIONS) as path:
        yield lambda predictions, labels: save_predictions(path, predictions, labels)


@contextmanager
def plot_file(target: Path | None) -> Iterator[Draw]:
    """What draws a document that has `curves`, beside other predictions for the same people if there are any.

    Raises:
        ConfigError: The file's name has none of the known endings, or it cannot be written.
    """
    if target is None:
        yield lambda document, against, labels, title: None
        return
    from hgedge.evaluation.plot import plot

    with whole_file(target, PLOTS) as path:
        yield lambda document, against, labels, title: plot(
            path, document, None if against is None else report(against, labels, with_curves=True), title
        )


@contextmanager
def whole_file(target: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """A file beside the target, which gets the target's name once the block ends without an error.

    Raises:
        ConfigError: The target has another suffix, or cannot be written.
    """
    if target.suffix.lower() not in suffixes:
        raise ConfigError(f"{target} must end in {' or '.join(suffixes)}")
    partial = partial_file(target)
    try:
        yield partial
        put_in_place(partial, target)
    finally:
        partial.unlink(missing_ok=True)
