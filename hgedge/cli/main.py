"""The program: its commands, and how it ends.

Exit codes: 0 done; 1 done, but the verdict is no; 2 wrong use or bad input; 3 a backend, device or library that was
asked for is not here; 70 a fault of hgedge's own; 130 interrupted; 141 the reader of stdout went away.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from hgedge import __version__
from hgedge.cli import bench, build, doctor, evaluate, export, inspect, models, run, sensitivity, sweep, train, verify
from hgedge.cli.command import register
from hgedge.errors import HgedgeError

COMMANDS: dict[Callable[..., int | None], str] = {
    build.build: "hgedge build --precision int8",
    run.run: "hgedge run --source video.mp4 --save poses.mp4",
    evaluate.evaluate: "hgedge evaluate engines/default-int8-openvino --data lspet --split val",
    bench.bench: "hgedge bench engines/default-int8-openvino --data lspet --report bench.html",
    sensitivity.sensitivity: "hgedge sensitivity default --data lspet --plot sensitivity.png",
    sweep.sweep: "hgedge sweep default --data lspet --split val --under 5",
    export.export: "hgedge export -o default.onnx",
    inspect.inspect: "hgedge inspect engines/default-int8-openvino",
    verify.verify: "hgedge verify engines/default-int8-openvino",
    train.train: "hgedge train training.toml",
    doctor.doctor: "hgedge doctor --json",
    models.models: "hgedge models --json",
}
EXTRAS = {
    "cv2": "video",
    "h5py": "bench",
    "matplotlib": "bench",
    "onnx": "build",
    "onnxruntime": "onnxruntime",
    "onnxscript": "export",
    "onnxsim": "export",
    "openvino": "openvino",
    "pycocotools": "bench",
    "safetensors": "export",
    "scipy": "bench",
    "torch": "export",
}
USAGE_EXIT, MISSING_EXIT, FAULT_EXIT, INTERRUPTED_EXIT, PIPE_EXIT = 2, 3, 70, 130, 141
USAGE_ERRORS: tuple[type[Exception], ...] = typer.BadParameter.__bases__  # wrong options; they have no public name

app = typer.Typer(name="hgedge", add_completion=False, rich_markup_mode=None)


def _version(asked: bool) -> None:
    if asked:
        print(f"hgedge {__version__}")
        raise typer.Exit()


@app.callback(epilog="Example: hgedge build, then hgedge run --source video.mp4")
def hgedge(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Stacked-hourglass pose estimation on edge devices: build an engine, run it, measure it."""


for _function, _example in COMMANDS.items():
    register(app, _function, _example)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a KeyboardInterrupt: what is half written is removed
    try:
        code = _invoke(words or ["--help"])
        sys.stdout.flush()
        return code
    except HgedgeError as error:
        return _fail(str(error), error.exit_code, debug)
    except USAGE_ERRORS as error:
        return _fail(_usage_message(error), USAGE_EXIT, debug)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root not in EXTRAS:
            return _fault(error, debug)
        hint = f"install it with: pip install 'hgedge[{EXTRAS[root]}]'"
        return _fail(f"this needs {root}, which is not installed; {hint}", MISSING_EXIT, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED_EXIT, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        return PIPE_EXIT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", USAGE_EXIT, debug)
    except Exception as error:
        return _fault(error, debug)


def _invoke(words: list[str]) -> int:
    """Run a command; its number is the exit code, none is 0."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("hgedge", words) as context:
            return command.invoke(context) or 0
    except typer.Exit as end:
        return int(end.exit_code)


def _usage_message(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "hgedge"
    return f"{error.format_message().rstrip('.')}; see: {command} --help"


def _fault(error: Exception, debug: bool) -> int:
    hint = "" if debug else "; run it again with --debug for the traceback"
    return _fail(f"internal error: {type(error).__name__}: {error}{hint}", FAULT_EXIT, debug)


def _fail(message: str, code: int, debug: bool) -> int:
    """Say on one line of stderr why the program ends."""
    if debug:
        traceback.print_exc()
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code
