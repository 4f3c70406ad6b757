"""The table of builds: model by precision by backend: seconds, size of the engine, INT8 convolutions, and whether it ran here.

Every build is `hgedge build` in a process of its own, as from the shell: "seconds" are its steps, "process" is the whole
process with its imports. `default` starts from the portable half that comes with hgedge, and has ranges there; hg1, hg2
and hg8 have seeded weights, as neither time nor size depends on them, and ranges of 32 photographs. `-k hg1` builds one.
"""

import json
import subprocess
import sys
import time

import pytest

from hgedge import backends, device
from hgedge.bundle import read_manifest
from hgedge.errors import HgedgeError

MODELS = ("default", "hg1", "hg2", "hg8")
PRECISIONS = {
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
    "torch": ("fp32", "bf16"),
}
PORTABLE = ("source.onnx", "model.onnx", "calibration.json", "golden.npz")
IMAGES = 32  # the fewest that a range table is made of


def weights(name, folder):
    """A checkpoint of a named network with seeded weights; the name alone where weights come with hgedge."""
    import torch

    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import MPII16
    from hgedge.models.hourglass import HourglassNet
    from hgedge.models.zoo import config_of, shipped_weights
    from hgedge.spec import InputSpec

    if shipped_weights(name) is not None:
        return name
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, HourglassNet(config_of(name)).eval(), name=name, input=InputSpec(), keypoints=MPII16)
    return str(path)


def built(model, precision, backend, pictures, output):
    """A row of the table."""
    command = [sys.executable, "-m", "hgedge", "build", model, "--precision", precision, "--backend", backend]
    command += ["--output", str(output), "--json", "-q", *pictures]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    process = round(time.perf_counter() - started, 3)
    if done.returncode:
        return {"precision": precision, "backend": backend, "error": done.stderr.strip()}
    report = json.loads(done.stdout)
    files = {name: (output / report["bundle"] / name).stat().st_size for name in read_manifest(output / report["bundle"]).files}
    own = sum(size for name, size in files.items() if name not in PORTABLE)
    return {
        "precision": precision,
        "backend": backend,
        "seconds": {**report["seconds"], "process": process},
        "engine_bytes": own or files["model.onnx"],  # which is ONNX Runtime's engine
        "bundle_bytes": sum(files.values()),
        "num_convs": report["num_convs"],
        "num_convs_int8": report["num_convs_int8"],
        "ran_here": report["agreement"] is not None,
        "agreement": report["agreement"],
    }
