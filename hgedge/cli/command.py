"""What all commands share: the options --json, -v, -q and --debug, and a terminal that heeds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

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
    shown = inspect.getdoc(function)
    app.command(function.__name__, cls=_Command, help=shown, epilog=f"Example: {example}")(command)


class _Command(TyperCommand):
    """A command whose options with a metavar in brackets may stand without their value, which is then empty."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        optional = {word for option in self.params if _may_be_bare(option) for word in option.opts}
        bare = (word in optional and after.startswith("-") for word, after in zip(args, [*args[1:], "-"]))
        return super().parse_args(ctx, [f"{word}=" if is_bare else word for word, is_bare in zip(args, bare)])


def _may_be_bare(option: Any) -> bool:
    return (option.metavar or "").startswith("[")
