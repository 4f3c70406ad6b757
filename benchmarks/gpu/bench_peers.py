"""One network on one GPU through everything that runs it: same photographs, interleaved, accuracy beside latency.

All take and give float32 on the device, (N, C, H, W) normalised to (N, K, h, w): converting is a peer's own part. A
sample is wall clock from the call until the device is done. No TF32 anywhere; cuDNN searches its fastest kernels.
"""

import contextlib
import copy
import time

import numpy as np
import pytest
import torch

from hgedge import geometry
from hgedge.backends.base import normalised
from hgedge.backends.torch.network import reduced
from hgedge.backends.torch.session import TorchSession
from hgedge.benchmark.timing import interleaved, percentiles, ratio
from hgedge.errors import BackendUnavailable, HgedgeError
from hgedge.evaluation.parity import relative_rmse
from hgedge.evaluation.pck import pck
from hgedge.runtime.decode import decode

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # the peers' own
]

BATCHES = (1, 16)
ROUNDS, WARMUP = 200, 20
THRESHOLD = 0.2  # of the torso
OURS = (
    "torch fp32",
    "torch fp16",
    "tensorrt fp16",
    "tensorrt int8",
    "tensorrt-rtx fp16",
    "tensorrt-rtx fp16 for this GPU",
    "tensorrt-rtx fp16 for 8.0",
    "tensorrt-rtx int8",
)
DEVICE = "cuda"  # "cpu" tries out what is PyTorch's and ONNX Runtime's
BASELINE = "PyTorch eager fp32"
EXACT, HALF = 1e-3, 0.05  # relative RMSE of heatmaps to the baseline's: other kernels; float16 too


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"PyTorch {torch.__version__} finds no CUDA device")
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield


@pytest.fixture
def peers(request, checkpoint, open_engine):
    """Name -> what maps images to heatmaps, and name -> why it is not there."""
    makers = {
        BASELINE: lambda: eager(checkpoint, torch.float32),
        "PyTorch eager fp16, channels last": lambda: eager(checkpoint, torch.float16),
        "torch.compile max-autotune fp16, channels last": lambda: compiled(checkpoint, torch.float16),
        "ONNX Runtime CUDA fp32": lambda: onnx_runtime(checkpoint, half=False),
        "ONNX Runtime CUDA fp16": lambda: onnx_runtime(checkpoint, half=True),
        **{f"hgedge {name}": lambda name=name: device_session(open_engine(name), held) for name in OURS},
    }
    wanted = request.config.getoption("--hgedge-peers")
    found, skipped = {}, {}
    with contextlib.ExitStack() as held:
        for name, make in makers.items():
            if wanted and name != BASELINE and not any(part in name for part in wanted.split(",")):
                skipped[name] = f"not among --hgedge-peers {wanted}"
                continue
            try:
                found[name] = make()
            except (Exception, pytest.skip.Exception) as error:
                skipped[name] = why(name, error)
        yield found, skipped


def why(name, error):
    """Why a peer is left out; our own may only fail as they say."""
    if name.startswith("hgedge") and not isinstance(error, (HgedgeError, pytest.skip.Exception)):
        raise error
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def eager(checkpoint, dtype):
    net = checkpoint.net if dtype is torch.float32 else reduced(checkpoint.net, dtype)
    net = copy.deepcopy(net).eval().to(DEVICE)
    layout = torch.contiguous_format if dtype is torch.float32 else torch.channels_last
    return lambda images: net(images.to(dtype, memory_format=layout))[:, -1].float()


def compiled(checkpoint, dtype):
    return torch.compile(eager(checkpoint, dtype), mode="max-autotune", dynamic=False)


def onnx_runtime(checkpoint, half):
    """The exported graph, from and to PyTorch's memory."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise BackendUnavailable(f"this ONNX Runtime {onnxruntime.__version__} is built without CUDA")
    from hgedge.export.to_onnx import onnx_from_network
    from hgedge.quantization.half import to_half

    graph = onnx_from_network(checkpoint.net, checkpoint.input, checkpoint.net.config.num_stacks)
    content = (to_half(graph) if half else graph).SerializeToString()
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    session = onnxruntime.InferenceSession(content, providers=[("CUDAExecutionProvider", options)])
    height, width = (side // checkpoint.net.config.stride for side in checkpoint.input.hw)

    def run(images):
        heatmaps = torch.empty((len(images), len(checkpoint.keypoints), height, width), device=DEVICE)
        torch.cuda.synchronize()  # it works on a stream of its own
        binding = session.io_binding()
        binding.bind_input("image", DEVICE, 0, np.float32, tuple(images.shape), images.data_ptr())
        binding.bind_output("heatmaps", DEVICE, 0, np.float32, tuple(heatmaps.shape), heatmaps.data_ptr())
        session.run_with_iobinding(binding)
        return heatmaps

    return run


def device_session(session, held):
    """An engine of ours, on memory and a stream of PyTorch's."""
    held.callback(session.close)
    context = contextlib.nullcontext() if isinstance(session, TorchSession) else session.context
    stream = torch.cuda.Stream()
    dtype = torch.float16 if session.half_image else torch.float32
    maps = torch.float16 if session.half_heatmaps else torch.float32
    outputs = {size: torch.empty(session.heatmaps_shape(size), dtype=maps, device=DEVICE) for size in session.sizes}

    def run(images):
        heatmaps = outputs[len(images)]
        stream.wait_stream(torch.cuda.current_stream())
        with context, torch.cuda.stream(stream):
            converted = images.to(dtype)
            session.enqueue(len(images), converted.data_ptr(), heatmaps.data_ptr(), stream.cuda_stream)
            found = heatmaps.float()
        torch.cuda.current_stream().wait_stream(stream)
        return found

    return run


def test_peers(model, checkpoint, peers, people, save):
    found, skipped = peers
    crops, affines = people.crops(checkpoint.input)
    images = torch.from_numpy(normalised(crops, checkpoint.input)).to(DEVICE)
    padded = torch.cat([images, images[-1:].repeat(-len(images) % BATCHES[-1], 1, 1, 1)])
    maps, seconds = {}, {}
    for name, run in list(found.items()):
        started = time.perf_counter()
        try:
            maps[name] = heatmaps_of(run, padded)[: len(images)]
        except Exception as error:  # a peer that does not run is left out, and what it says is kept
            del found[name]
            skipped[name] = why(name, error)
        seconds[name] = round(time.perf_counter() - started, 2)  # its own warm-up among them
    samples = {f"batch {batch}": timed(found, padded[:batch]) for batch in BATCHES}
    rows = [
        {
            "peer": name,
            "latency_ms": {batch: percentiles(taken[name]) for batch, taken in samples.items()},
            "baseline_over_it": {batch: ratio(taken[BASELINE], taken[name]) for batch, taken in samples.items()},
            "first_pass_s": seconds[name],
            **accuracy(maps[name], maps[BASELINE], affines, people, checkpoint),
            "samples_ms": {batch: taken[name].round(4).tolist() for batch, taken in samples.items()},
        }
        for name in found
    ]
    save(f"gpu-peers-{model}", {**about(model, checkpoint, people), "rows": rows, "skipped": skipped})
    for row in rows:
        assert row["relative_rmse"] <= (EXACT if "fp32" in row["peer"] else HALF) or "int8" in row["peer"]


@torch.inference_mode()
def heatmaps_of(run, images):
    """(P, K, h, w) float32 of all images, by the largest batch."""
    parts = [run(part).float().cpu().numpy() for part in images.split(BATCHES[-1])]
    for batch in BATCHES:
        run(images[:batch])  # compiled and searched before the clock runs
    return np.concatenate(parts)


@torch.inference_mode()
def timed(peers, images):
    def until_done(run):
        run(images)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return interleaved({n: lambda run=run: until_done(run) for n, run in peers.items()}, ROUNDS, WARMUP)


def accuracy(maps, baseline, affines, people, checkpoint):
    """How far from the baseline's, and how right where people are labelled with what the network predicts."""
    spec = checkpoint.decode
    points, expected = (decode(each, spec.stride, spec.shift, spec.refinement)[0] for each in (maps, baseline))
    distances = np.linalg.norm(points - expected, axis=-1)
    told = {
        "relative_rmse": round(relative_rmse(maps, baseline), 6),
        "from_baseline_px": {f"p{p}": round(float(np.percentile(distances, p)), 4) for p in (50, 95, 99)},
    }
    if people.keypoint_set is not None and people.keypoint_set.names == checkpoint.keypoints.names:
        placed = np.stack([geometry.transform(affine, each) for affine, each in zip(affines, points)])
        scored = pck(placed, people.keypoints, people.labelled, people.keypoint_set, (THRESHOLD,))
        told[f"PCK@{THRESHOLD} pooled"] = round(float(scored.pooled[0]), 3)
    return told


def about(model, checkpoint, people):
    return {
        "model": model,
        "input_hw": checkpoint.input.hw,
        "people": people.data,
        "rounds": ROUNDS,
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        },
    }
