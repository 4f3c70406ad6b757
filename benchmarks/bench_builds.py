"""The table of builds, model x precision x backend: seconds, bytes, convolutions in INT8, whether the engine ran here.

Each is `hgedge build` in a process of its own, as from the shell: its own "seconds", and those of the "process" with
its imports. `default` starts from the portable half that comes with hgedge, ranges included. hg1, hg2 and hg8 start
from checkpoints of seeded weights, on which neither time nor size depends, and take ranges from so many photographs as
"calibration_images" says. `pytest benchmarks/bench_builds.py -k hg1` is one model.
"""

import json
import shutil
import subprocess
import sys
import time

import pytest

from hgedge import backends, bundle, device
from hgedge.errors import HgedgeError
from hgedge.models.zoo import config_of, shipped_weights, zoo_names

pytestmark = pytest.mark.soak

PRECISIONS = {
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
    "torch": ("fp32", "bf16"),
}
PORTABLE = {"source.onnx", "model.onnx", "calibration.json", "golden.npz"}
IMAGES = 32  # the fewest that a table of ranges is made from


@pytest.mark.parametrize("name", zoo_names())
def test_builds(name, request, tmp_path, save):
    shipped = shipped_weights(name) is not None
    model = name if shipped else seeded_checkpoint(name, tmp_path / f"{name}.safetensors")
    ranges = () if shipped else ("--calibration", request.getfixturevalue("lspet"), "--calibration-images", IMAGES)
    rows = [
        {"precision": precision, "backend": backend, **row(model, precision, backend, ranges, tmp_path / "engines")}
        for backend, precisions in PRECISIONS.items()
        for precision in precisions
    ]
    save(f"builds-{name}", {"model": name, "calibration_images": None if shipped else IMAGES, "builds": rows})
    made = {(item["backend"], item["precision"]): item for item in rows if "not_built" not in item}
    assert ("openvino", "int8") in made and ("openvino", "fp32") in made
    for (_, precision), item in made.items():
        assert item["num_convs_int8"] == (item["num_convs"] - 1 if precision == "int8" else 0)
    assert made["openvino", "int8"]["engine_bytes"] < made["openvino", "fp32"]["engine_bytes"]


def row(model, precision, backend, ranges, output):
    """What one build took and gave, or why it is not offered here."""
    try:
        backends.builder(backend).check(precision, device.cpu())
    except HgedgeError as error:
        return {"not_built": str(error)}
    options = ["--precision", precision, "--backend", backend, "--output", output, "--json", "--quiet"]
    if precision == "int8":
        options += ranges
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hgedge", "build", model, *map(str, options)], stdout=subprocess.PIPE, check=True
    )
    process = round(time.perf_counter() - started, 3)
    report = json.loads(done.stdout)
    sizes = bundle.inspect(output / report["bundle"])["bytes"]
    shutil.rmtree(output)  # hg8's would fill the disk
    own = sum(size for file, size in sizes.items() if file not in PORTABLE)
    return {
        "seconds": {**report["seconds"], "process": process},
        "engine_bytes": own or sizes["model.onnx"],  # which is ONNX Runtime's engine
        "bundle_bytes": sum(sizes.values()),
        "num_convs": report["num_convs"],
        "num_convs_int8": report["num_convs_int8"],
        "ran_here": report["agreement"] is not None,
    }


def seeded_checkpoint(name, path):
    """A file of seeded weights for a named network at 256x256."""
    import torch

    from hgedge.checkpoints.save import save_checkpoint
    from hgedge.datasets.keypoint_sets import MPII16
    from hgedge.models.hourglass import HourglassNet
    from hgedge.spec import InputSpec

    torch.manual_seed(0)
    save_checkpoint(path, HourglassNet(config_of(name)).eval(), name=name, input=InputSpec(), keypoints=MPII16)
    return str(path)
