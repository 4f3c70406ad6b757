"""Arguments and options that commands take, with what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgedge.errors import ConfigError

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="A model's name, a checkpoint, ONNX, a bundle or a recipe (TOML); none: default."
    ),
]
Checkpoint = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="A checkpoint or a model's name; none: default.")
]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to train, on what, and how.")]

Precision = Annotated[str | None, typer.Option(metavar="{fp32,fp16,bf16,int8}", help="Of the engine; int8 by default.")]
Backend = Annotated[
    str | None,
    typer.Option(
        metavar="{auto,openvino,onnxruntime,torch,tensorrt,tensorrt-rtx}", help="What runs the engine; auto by default."
    ),
]
Calibration = Annotated[
    Path | None, typer.Option(metavar="DIR,TOML,TABLE", help="Pictures, a recipe, or a table of INT8 ranges.")
]
CalibrationImages = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Pictures to take from a folder; 128 by default.")
]
CalibrationMethod = Annotated[
    str | None,
    typer.Option(
        metavar="{mean-minmax,minmax,percentile-P,mse,entropy}",
        help="How ranges are drawn from pictures; mean-minmax by default.",
    ),
]
CalibrationData = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Labelled people to measure the drop on, or what a recipe names.")
]
MaxDrop = Annotated[
    float | None,
    typer.Option(metavar="P", help="Points that the engine may lose on --data; INT8 finds the fastest, 1 by default."),
]
Placement = Annotated[
    str | None,
    typer.Option(metavar="{stream,conv}", help="Which tensors are quantised; a bundle's own, else stream by default."),
]
FloatGroups = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Groups of layers that INT8 leaves float; a bundle's own, else none by default."),
]
NumStacks = Annotated[int | None, typer.Option(metavar="N", min=1, help="Keep this many stacks; all by default.")]
InputSize = Annotated[
    str | None, typer.Option("--input", metavar="HxW", help="Input size; the model's own by default.")
]
Refinement = Annotated[
    str | None,
    typer.Option(metavar="{quarter,dark}", help="How peaks are located between cells; the model's own by default."),
]
Keypoints = Annotated[
    str | None, typer.Option(metavar="NAME,TOML", help="Of an ONNX file: its keypoint set; numbered by default.")
]
Mean = Annotated[
    str | None, typer.Option(metavar="M[,M,M]", help="Of an ONNX file: it takes (pixel / 255 - mean) / std; else 0.")
]
Std = Annotated[
    str | None,
    typer.Option(metavar="S[,S,S]", help="Of an ONNX file, as --mean; else 1. 0.00392157 where it takes 0 to 255."),
]
Color = Annotated[
    str | None, typer.Option(metavar="{rgb,bgr,gray}", help="Of an ONNX file: order of its input's channels; else rgb.")
]
Heatmaps = Annotated[
    str | None, typer.Option(metavar="OUTPUT", help="Of an ONNX file: which output; found by its shape by default.")
]
Batch = Annotated[
    str | None, typer.Option(metavar="1,2,4,8", help="Batch sizes to prepare the engine for; 1 by default.")
]
WithEngine = Annotated[
    bool | None,
    typer.Option("--engine/--no-engine", help="Build the engine (default), or the portable half alone."),
]
BundleFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder to put the bundle into; engines by default.")
]
Force = Annotated[bool | None, typer.Option("--force", help="Replace a bundle of the same name.")]

WorkspaceMib = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of NVIDIA engines: MiB that a layer may use; by default most of what is free."),
]
VersionCompatible = Annotated[
    bool | None, typer.Option("--version-compatible", help="Of TensorRT: its later versions run the engine too.")
]
HardwareCompatible = Annotated[
    bool | None,
    typer.Option("--hardware-compatible", help="Of TensorRT: other GPUs from Ampere on run the engine too."),
]
Dla = Annotated[int | None, typer.Option(metavar="CORE", help="Of TensorRT: run the engine on a DLA core, in FP16.")]
GpuFallback = Annotated[
    bool | None,
    typer.Option(
        "--gpu-fallback/--no-gpu-fallback", help="Whether the GPU may run what the DLA core cannot; not by default."
    ),
]
GpuCapability = Annotated[
    str | None,
    typer.Option(
        metavar="8.6,8.9|current", help="Of TensorRT-RTX: GPUs that the engine is for; 8.6, 8.9 and 12.0 by default."
    ),
]

Data = Annotated[Path, typer.Option(metavar="DIR", help="Folder of a labelled data set.")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="One of its splits; val, test or all by default.")]
LimitPeople = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Score only this many people, spread over the split.")
]
Target = Annotated[
    str | None, typer.Argument(metavar="BUNDLE_OR_MODEL", help="A bundle, a checkpoint or a model's name.")
]
PredictionsFile = Annotated[
    Path | None,
    typer.Option("--predictions", metavar="FILE", help="Score predictions in .npz, .h5, .mat or .json, not a model."),
]
Against = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Predictions of the same people, to tell how sure the difference is."),
]
FlipTest = Annotated[bool, typer.Option("--flip-test", help="Predict on mirror images too, and take the mean.")]
AverageStacks = Annotated[
    bool, typer.Option("--average-stacks", help="Of a checkpoint: the mean of all stacks' maps, not the last.")
]
SimulateFp16 = Annotated[
    bool,
    typer.Option("--simulate-fp16", help="Of an FP16 bundle: what FP16 arithmetic gives, on any CPU; not the engine."),
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw curves and joints: .png, .svg or .pdf.")]
SensitivityPlot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw cost against saving: .png, .svg or .pdf.")
]
SavePredictions = Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Keep keypoints, labels and names.")]

Camera = Annotated[
    str | None, typer.Option(metavar="N", help="A camera, by number; csi:N names a Jetson's CSI camera by its sensor.")
]
CameraSize = Annotated[str | None, typer.Option(metavar="WxH", help="Size to ask the camera for; its own by default.")]
CameraFps = Annotated[
    float | None, typer.Option(metavar="F", min=0.1, help="Frames a second to ask the camera for; its own by default.")
]
CameraTurn = Annotated[
    int | None, typer.Option(metavar="{90,180,270}", help="Degrees clockwise to turn its frames by; none by default.")
]
SourceName = Annotated[
    str | None, typer.Option(metavar="PATH_OR_URL", help="A picture, folder, pattern, video or stream; - is stdin.")
]
Engine = Annotated[
    Path | None, typer.Option(metavar="BUNDLE", help="What to run; by default the newest in engines/ that fits.")
]
Raw = Annotated[
    str | None,
    typer.Option(
        metavar="WxH[:PIXELS[:FPS]]", help="Of --source -: size, bgr, bgrx, nv12 or gray, and rate of its frames."
    ),
]
People = Annotated[
    str,
    typer.Option(metavar="{whole,hog,onnx:PATH,boxes:FILE}", help="Where people are; by default each frame is one."),
]
MaxPeople = Annotated[int | None, typer.Option(metavar="N", min=1, help="People a frame; 8 by default.")]
DetectEvery = Annotated[int | None, typer.Option(metavar="N", min=1, help="Frames between detections; 30 by default.")]
Smooth = Annotated[
    bool | None,
    typer.Option(
        "--smooth/--no-smooth",
        help="Whether joints are smoothed over time; by default of live sources and of people who are followed.",
    ),
]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save frames with poses drawn: a video, a picture or a folder.")
]
Jsonl = Annotated[str | None, typer.Option(metavar="FILE", help="Save poses as JSON, a line a frame; - is stdout.")]
Coco = Annotated[Path | None, typer.Option(metavar="FILE", help="Save poses as COCO's keypoint results (JSON).")]
Window = Annotated[bool, typer.Option("--window/--no-window", help="Show videos and cameras, if there is a screen.")]
Preview = Annotated[
    str | None,
    typer.Option(metavar="[HOST:PORT]", help="Serve a page with the live picture; at 127.0.0.1:8080 by default."),
]
PreviewToken = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="Of --preview: what viewers must bring; none on 127.0.0.1.")
]
Recordings = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Of --preview: where it records to; recordings by default.")
]
LimitFrames = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many frames.")]

Bundles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="BUNDLE", help="Bundles' folders; none: those in engines/ that fit this machine."),
]
ScoredData = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Folder of a labelled data set, to tell accuracy too.")
]
BenchFrames = Annotated[
    int | None, typer.Option("--frames", metavar="N", help="Frames that each engine is timed on; 100 by default.")
]
Baseline = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="The checkpoint that the bundles were built from, to compare with PyTorch."),
]
Reports = Annotated[
    list[Path] | None,
    typer.Option("--report", metavar="FILE", help="Write a report: .html, .md, .csv or .json; may be given again."),
]
AllowNoise = Annotated[
    bool, typer.Option("--allow-noise", help="Time even where other processes take the CPU; the report says so.")
]

Stacks = Annotated[str | None, typer.Option(metavar="1,2", help="Numbers of stacks to sweep; all by default.")]
InputSizes = Annotated[
    str | None,
    typer.Option("--input", metavar="HxW,HxW", help="Input sizes to sweep; some around the model's own by default."),
]
Precisions = Annotated[
    str | None,
    typer.Option("--precision", metavar="fp32,int8", help="To sweep; by default all that the backend computes here."),
]
Placements = Annotated[
    str | None, typer.Option("--placement", metavar="stream,conv", help="Of INT8, to sweep; both by default.")
]
WithinPoints = Annotated[
    float, typer.Option("--points", metavar="P", help="How far below the most accurate the fastest may be.")
]
UnderMs = Annotated[
    float | None,
    typer.Option("--under", metavar="MS", help="Recommend the most accurate that is faster than this; 10 by default."),
]
SweepFolder = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="Folder for recipes, picture and tables; sweeps/MODEL by default."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure anew what an earlier sweep measured.")]

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


def fractions(text: str, option: str) -> tuple[float, ...]:
    """Numbers out of an option's text.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} must be numbers with commas between, but got {text!r}") from None
