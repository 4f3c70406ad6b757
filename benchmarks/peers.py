"""What others make of a network, and what we do: every peer gives heatmaps for crops.

Those of PyTorch and ONNX Runtime take the normalised image; OpenVINO's have that folded in, as ours. Plain exports are
PyTorch's own, without our rewrites. NNCF gets our rewritten graph, and all quantisers get the same pictures.
"""

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hgedge.backends.base import normalised
from hgedge.backends.torch.network import reduced
from hgedge.builder import BuildOptions, build, calibration
from hgedge.builder.network import network_of
from hgedge.builder.pictures import Pictures
from hgedge.bundle import file_of, read_manifest
from hgedge.progress import no_progress
from hgedge.runtime.pipeline import load

EAGER, ORT, NNCF = "PyTorch eager FP32", "ONNX Runtime FP32", "NNCF INT8 on OpenVINO"
OURS = "hgedge INT8, stream"
AGAIN = f"{OURS}, again"


class LastStack(torch.nn.Module):
    """What one would write to deploy a network as it is: the last stack's heatmaps."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return self.net(image)[:, -1]


@dataclass
class Peer:
    """A session of any engine; `engine_ms` of all its calls, from prepared input to heatmaps."""

    infer: Any
    prepare: Any = lambda crops: crops
    close: Any = lambda: None
    engine_ms: list = field(default_factory=list)

    def run(self, crops):
        image = self.prepare(crops)
        started = time.perf_counter()
        heatmaps = self.infer(image)
        self.engine_ms.append(1e3 * (time.perf_counter() - started))
        return heatmaps


@dataclass
class Setting:
    """What all peers of a model start from.

    Attributes:
        options: Of a build in INT8.
        folder: For what peers write.
        bundles: Of ours that are built, by precision and placement.
    """

    model: str
    checkpoint: Any
    options: dict
    folder: Path
    bundles: dict = field(default_factory=dict)

    @property
    def input(self):
        return self.checkpoint.input

    def normalised(self, crops):
        return normalised(crops, self.input)

    def bundle(self, precision, placement=None):
        """A bundle of ours; what is not FP32 is built from the FP32 one, which needs no second export."""
        if (precision, placement) not in self.bundles:
            model = self.options["model"] if precision == "fp32" else str(self.bundle("fp32"))
            options = {**(self.options if precision == "int8" else {}), "model": model, "output": self.folder}
            built = build(BuildOptions(precision=precision, backend="openvino", placement=placement, **options))
            self.bundles[precision, placement] = built.bundle
        return self.bundles[precision, placement]

    def images(self):
        """The calibration pictures, (1, C, H, W) float32 each."""
        options = BuildOptions(precision="int8", backend="openvino", **self.options)
        return [
            picture[None].copy()
            for picture in Pictures(calibration.find(options, network_of(options)), self.input, no_progress)
        ]

    def plain_export(self):
        path = self.folder / "plain.onnx"
        if not path.exists():
            net, image = LastStack(self.checkpoint.net).eval(), torch.zeros(1, self.input.channels, *self.input.hw)
            names = {"input_names": ["image"], "output_names": ["heatmaps"]}
            torch.onnx.export(net, (image,), path, dynamo=True, verbose=False, external_data=False, **names)
        return path


def pytorch(setting, dtype=torch.float32, layout=torch.contiguous_format, compiled=False):
    net = setting.checkpoint.net if dtype is torch.float32 else reduced(setting.checkpoint.net, dtype)
    net = LastStack(copy.deepcopy(net)).eval().to(memory_format=layout)
    run = torch.compile(net, dynamic=False, options={"freezing": True}) if compiled else net

    @torch.no_grad()
    def infer(image):
        return run(torch.from_numpy(image).to(dtype, memory_format=layout)).float().numpy()

    return Peer(infer, setting.normalised)


def onnx_runtime(setting, path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return Peer(lambda image: session.run(None, {"image": image})[0], setting.normalised)


def onnx_runtime_int8(setting):
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        images = iter(setting.images())

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"image": image}

    prepared, path = setting.folder / "prepared.onnx", setting.folder / "ort-int8.onnx"
    quant_pre_process(setting.plain_export(), prepared)
    types = {"activation_type": quantization.QuantType.QUInt8, "weight_type": quantization.QuantType.QInt8}
    mean = {"CalibMovingAverage": True}  # of each picture's min-max, as ours; with its default it is far off
    quantization.quantize_static(prepared, path, Reader(), per_channel=True, extra_options=mean, **types)
    return onnx_runtime(setting, path)


def openvino(setting, model, hint):
    import openvino as ov

    from hgedge.backends.openvino.build import fold_input

    hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(fold_input(model, setting.input), "CPU", hints).create_infer_request()

    def infer(crops):
        request.set_input_tensor(ov.Tensor(crops, shared_memory=True))
        request.infer()
        return request.get_output_tensor().data

    return Peer(infer)


def plain_openvino(setting, hint):
    import openvino as ov

    return openvino(setting, ov.Core().read_model(setting.plain_export()), hint)


def nncf_int8(setting):
    import nncf
    import openvino as ov

    bundle, images = setting.bundle("fp32"), setting.images()
    model = ov.Core().read_model(file_of(bundle, read_manifest(bundle), "source.onnx"))
    model.reshape([1, setting.input.channels, *setting.input.hw])
    return openvino(setting, nncf.quantize(model, nncf.Dataset(images), subset_size=len(images)), "f32")


def ours(setting, precision, placement=None):
    pipeline = load(setting.bundle(precision, placement))
    return Peer(pipeline.session.run, close=pipeline.close)


MAKERS = {  # name -> arithmetic, and how the peer is made
    EAGER: ("fp32", pytorch),
    "PyTorch eager FP32, channels last": ("fp32", lambda setting: pytorch(setting, layout=torch.channels_last)),
    "PyTorch eager BF16, channels last": (
        "bf16",
        lambda setting: pytorch(setting, torch.bfloat16, torch.channels_last),
    ),
    "torch.compile FP32": ("fp32", lambda setting: pytorch(setting, compiled=True)),
    ORT: ("fp32", lambda setting: onnx_runtime(setting, setting.plain_export())),
    "ONNX Runtime INT8, its own": ("int8", onnx_runtime_int8),
    "OpenVINO FP32, plain export": ("fp32", lambda setting: plain_openvino(setting, "f32")),
    "OpenVINO BF16, plain export": ("bf16", lambda setting: plain_openvino(setting, "bf16")),
    NNCF: ("int8", nncf_int8),
    "hgedge FP32": ("fp32", lambda setting: ours(setting, "fp32")),
    "hgedge BF16": ("bf16", lambda setting: ours(setting, "bf16")),
    OURS: ("int8", lambda setting: ours(setting, "int8", "stream")),
    "hgedge INT8, conv": ("int8", lambda setting: ours(setting, "int8", "conv")),
    AGAIN: ("int8", lambda setting: ours(setting, "int8", "stream")),
}


def markdown(results, metric):
    """The table: a row a peer; of each model milliseconds end to end, times faster than eager FP32, share of the peak.

    Args:
        results: What `bench_peers.py` keeps of each model.
        metric: Of those models whose predictions are labelled.
    """
    rows = {result["model"]: {row["peer"]: row for row in result["rows"]} for result in results}
    lines = [f"| engine | {' | '.join(rows)} | RMSE, % | {metric} |", "| --- " * (3 + len(rows)) + "|"]
    for name in MAKERS:
        found = {model: of[name] for model, of in rows.items() if name in of}
        if found and name != AGAIN:
            cells = [_cell(found[model]) if model in found else "-" for model in rows]
            rmse = " / ".join(f"{100 * row['relative_rmse']:.1f}" for row in found.values())
            right = next((f"{row[metric]:.1f}" for row in found.values() if metric in row), "-")
            lines.append(f"| {' | '.join([name, *cells, rmse, right])} |")
    peaks = {name: [result["peaks"][name]["gmac_per_s"] for result in results] for name in results[0]["peaks"]}
    limit = ", ".join(f"{name} {max(reached):.0f}" for name, reached in peaks.items() if all(reached))
    return "\n".join([*lines, "", f"Peak of 3x3 convolutions, GMAC/s: {limit}.", ""])


def _cell(row):
    share = row["share_of_peak"]
    told = "" if share is None else f", {100 * share:.0f} %"
    return f"{row['latency_ms']['end_to_end']['p50']:.1f} ms, {row['eager_over_it']['value']:.2f}x{told}"
