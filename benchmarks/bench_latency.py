"""From a photograph in memory to keypoints, and each step of it: model x backend x precision x batch.

A batch is as many boxes in one picture. hg1, hg2 and hg8 have seeded weights, and ranges of drawn figures: speed
depends on neither. hg1 and hg8 run with `-m soak`.
"""

import cv2
import numpy as np
import pytest

from hgedge import backends, device, geometry
from hgedge.builder import BuildOptions, build
from hgedge.builder.golden_crops import PHOTOGRAPH
from hgedge.bundle import read_manifest
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import BackendUnavailable
from hgedge.models.zoo import shipped_half
from hgedge.runtime.decode import decode
from hgedge.runtime.pipeline import Pipeline, load
from hgedge.spec import REFINEMENTS, DecodeSpec, InputSpec
from hgedge.visualization.figures import figure_picture

CROP_CALLS, DECODE_CALLS = 16, 48  # a round, which then takes a millisecond or two
BATCHES = (1, 8)
MODELS = ("default", "face68", "hg2", "hg1", "hg8")
SHIPPED = MODELS[:2]
SOAK = MODELS[3:]
ENGINES = [
    *(("openvino", precision) for precision in ("int8", "bf16", "fp32")),
    *(("onnxruntime", precision) for precision in ("int8", "fp32")),
    *(("torch", precision) for precision in ("bf16", "fp32")),
    *((name, precision) for name in ("tensorrt", "tensorrt-rtx") for precision in ("int8", "fp16")),
]
IN_LARGE_BATCHES = ("openvino", "int8")  # of networks with 256 features, where a batch of 8 takes a second with others
DRAWN = 32  # pictures; the fewest that a table of ranges is made from


def marked(model, *engine):
    marks = [pytest.mark.soak] if model in SOAK else []
    return pytest.param((model, *engine), id="-".join((model, *engine)), marks=marks)


@pytest.fixture(scope="module")
def photograph():
    return cv2.imread(str(PHOTOGRAPH))


@pytest.fixture(scope="module")
def half_of(request, tmp_path_factory):
    """half_of(model): what engines are built from without PyTorch: a shipped name, or the portable half in INT8."""
    made = {}

    def found(model):
        if model in SHIPPED:
            return model
        if model not in made:
            checkpoint = str(request.getfixturevalue(model))
            drawn = tmp_path_factory.mktemp("drawn")
            for index in range(DRAWN):
                cv2.imwrite(str(drawn / f"{index}.png"), figure_picture((256, 256), index)[0])
            options = {"calibration": drawn, "calibration_images": DRAWN, "engine": False}
            made[model] = build(BuildOptions(checkpoint, output=tmp_path_factory.mktemp(model), **options)).bundle
        return str(made[model])

    return found


@pytest.fixture(scope="module", params=[marked(model, *engine) for model in MODELS for engine in ENGINES])
def engine(request, half_of, tmp_path_factory):
    """A pipeline, and the sizes of batches that are timed on it."""
    model, backend, precision = request.param
    large = (backend, precision) == IN_LARGE_BATCHES or (model in SHIPPED and backend != "torch")
    batches = BATCHES if large else (1,)
    try:
        if backend == "torch":
            pipeline = torch_pipeline(model if model in SHIPPED else str(request.getfixturevalue(model)), precision)
        else:
            backends.builder(backend).check(precision, backends.device_for(backend))
            if (reason := backends.why_not_here(backend)) is not None:
                pytest.skip(reason)
            output = tmp_path_factory.mktemp("engines")
            pipeline = load(
                build(BuildOptions(half_of(model), precision, backend, batch=batches, output=output)).bundle
            )
    except BackendUnavailable as error:
        pytest.skip(str(error))
    with pipeline:
        yield pipeline, batches


def torch_pipeline(model, precision):
    """PyTorch eager on the CPU."""
    from hgedge.backends.torch.session import TorchSession
    from hgedge.checkpoints import resolve

    if precision == "bf16":
        backends.builder("openvino").check(precision, device.cpu())
    checkpoint = resolve(model)
    session = TorchSession(checkpoint.net, checkpoint.input, precision)
    return Pipeline(session, checkpoint.input, checkpoint.keypoints, checkpoint.decode)


def reference_of(pipeline):
    return "gpu" if hasattr(pipeline.session, "enqueue") else "matrix"


@pytest.fixture(params=[marked(model) for model in MODELS])
def parts(request):
    """Input, keypoints and decoding of a model."""
    (model,) = request.param
    if model not in SHIPPED:
        return InputSpec(), MPII16, DecodeSpec()
    manifest = read_manifest(shipped_half(model))
    return manifest.input, manifest.keypoints, manifest.decode


@pytest.mark.parametrize("batch", BATCHES)
def test_preprocess(timed, parts, photograph, batch):
    pipeline = Pipeline(None, *parts)
    affine = geometry.frame_from_input(geometry.whole_frame_box(photograph.shape[:2]), pipeline.input.hw)
    timed(lambda: pipeline.crops(photograph, [affine] * batch), "array", CROP_CALLS // batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("refinement", REFINEMENTS)
def test_decode(timed, parts, batch, refinement):
    spec, keypoints, _ = parts
    shape = batch, len(keypoints), *(side // 4 for side in spec.hw)
    maps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    timed(lambda: decode(maps, refinement=refinement), "array", DECODE_CALLS // batch)


@pytest.mark.parametrize("batch", BATCHES)
def test_engine(timed, engine, batch):
    pipeline, batches = engine
    if batch not in batches:
        pytest.skip(f"a batch of {batch} would take minutes")
    crops = np.zeros((batch, *pipeline.input.hw, pipeline.input.channels), np.uint8)
    timed(lambda: pipeline.session.run(crops), reference_of(pipeline))


@pytest.mark.parametrize("batch", BATCHES)
def test_end_to_end(timed, engine, photograph, batch):
    pipeline, batches = engine
    if batch not in batches:
        pytest.skip(f"a batch of {batch} would take minutes")
    boxes = [geometry.whole_frame_box(photograph.shape[:2])] * batch
    timed(lambda: pipeline(photograph, boxes), reference_of(pipeline))
