"""Arguments and options that commands take, with what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgedge.errors import ConfigError

Model = Annotated[
    str | None,
    typer.Argument(metavar="MODEL", help="A model's name, a checkpoint, a bundle or a recipe (TOML); none: default."),
]
Checkpoint = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="A checkpoint or a model's name; none: default.")
]
Target = Annotated[str, typer.Argument(metavar="BUNDLE_OR_MODEL", help="A bundle, a checkpoint or a model's name.")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to train, on what, and how.")]

Precision = Annotated[str, typer.Option(metavar="{fp32,fp16,bf16,int8}", help="Of the engine.")]
Backend = Annotated[
    str, typer.Option(metavar="{auto,openvino,onnxruntime,torch,tensorrt,tensorrt-rtx}", help="What runs the engine.")
]
Calibration = Annotated[
    Path | None, typer.Option(metavar="DIR,TOML,TABLE", help="Pictures, a recipe, or a table of INT8 ranges.")
]
CalibrationImages = Annotated[int, typer.Option(metavar="N", min=1, help="Pictures to take from a folder.")]
CalibrationData = Annotated[Path | None, typer.Option(metavar="DIR", help="Data set that a calibration recipe names.")]
Placement = Annotated[str, typer.Option(metavar="{stream,conv}", help="Which tensors are quantised.")]
NumStacks = Annotated[int | None, typer.Option(metavar="N", min=1, help="Keep this many stacks; all by default.")]
InputSize = Annotated[
    str | None, typer.Option("--input", metavar="HxW", help="Input size; the model's own by default.")
]
Batch = Annotated[str, typer.Option(metavar="1,2,4,8", help="Batch sizes to prepare the engine for.")]
WithEngine = Annotated[bool, typer.Option("--engine/--no-engine", help="Build the engine, or the portable half alone.")]
BundleFolder = Annotated[Path, typer.Option(metavar="DIR", help="Folder to put the bundle into.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a bundle of the same name.")]

Data = Annotated[Path, typer.Option(metavar="DIR", help="Folder of a labelled data set.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="One of its splits.")]
LimitPeople = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Score only this many people, spread over the split.")
]

Camera = Annotated[int | None, typer.Option(metavar="N", help="A camera, by number.")]
SourceName = Annotated[
    str | None, typer.Option(metavar="PATH_OR_URL", help="A picture, folder, pattern, video or stream.")
]
Engine = Annotated[
    Path | None, typer.Option(metavar="BUNDLE", help="What to run; by default the newest in engines/ that fits.")
]
People = Annotated[str, typer.Option(metavar="{whole}", help="Where people are: the whole frame is one.")]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save frames with poses drawn: a video, a picture or a folder.")
]
Jsonl = Annotated[str | None, typer.Option(metavar="FILE", help="Save poses as JSON, a line a frame; - is stdout.")]
Window = Annotated[bool, typer.Option("--window/--no-window", help="Show videos and cameras, if there is a screen.")]
LimitFrames = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many frames.")]

OnnxFile = Annotated[Path, typer.Option("-o", "--output", metavar="FILE.onnx", help="The file to write.")]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, libraries' warnings too.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def integers(text: str, separator: str, option: str, expected: str) -> tuple[int, ...]:
    """Numbers out of an option's text.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        return tuple(int(part) for part in text.lower().split(separator))
    except ValueError:
        raise ConfigError(f"{option} must be {expected}, but got {text!r}") from None
