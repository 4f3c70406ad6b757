"""What all commands share: the options --json, -v, -q and --debug, and a terminal that heeds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer

from hgedge.cli import options
from hgedge.cli.terminal import Terminal


def _shared(
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """The options that every command has."""


def register(app: typer.Typer, function: Callable[..., int | None], example: str) -> None:
    """Make a command of a function that takes a terminal and then its options; what it returns is the exit code.

    Args:
        app: The program.
        function: Its name is the command's, its docstring the help.
        example: A line to try, for the help.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = inspect.signature(_shared, eval_str=True).parameters
    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*own, *shared.values())]

    def command(**given: Any) -> int | None:
        settings = {name: given.pop(name) for name in shared}
        with Terminal(settings["json"], settings["verbose"] or settings["debug"], settings["quiet"]) as terminal:
            return function(terminal, **given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(function.__name__, help=inspect.getdoc(function), epilog=f"Example: {example}")(command)
