"""INT8 under an accuracy budget: how long the search takes, what it finds, and what every group costs and saves."""

import time
from pathlib import Path

import pytest

from hgedge import records
from hgedge.benchmark.environment import machine_name
from hgedge.budget.plot import plot
from hgedge.builder import BuildOptions, build
from hgedge.builder.budget import sensitivity_document

pytestmark = pytest.mark.soak

RESULTS = Path(__file__).parent / "results"
MODELS = {"default": "lspet", "face68": "faces"}  # data set beside LSPET
MAX_DROP = 1.0
MOST_S = 600.0  # what a search on the default model may take on two cores


@pytest.fixture(scope="module", params=MODELS)
def options(request, lspet, tmp_path_factory):
    folder = lspet.parent / MODELS[request.param]
    if not folder.is_dir():
        pytest.skip(f"needs the data set {folder}")
    return BuildOptions(
        request.param, backend="openvino", data=folder, max_drop=MAX_DROP, output=tmp_path_factory.mktemp("engines")
    )


@pytest.fixture(scope="module", autouse=True)
def no_notebook(tmp_path_factory):
    """Nothing is known beforehand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def test_search(options, save):
    started = time.monotonic()
    report = build(options)
    seconds = time.monotonic() - started
    save(
        f"{options.model}-budget",
        {"seconds": round(seconds, 1), "report": {**records.to_mapping(report), "bundle": report.bundle.name}},
    )
    assert seconds <= MOST_S


def test_sensitivity(options, save, tmp_path, request):
    started = time.monotonic()
    document = sensitivity_document(options, None, None)
    seconds = time.monotonic() - started
    save(f"{options.model}-sensitivity", {"seconds": round(seconds, 1), **document})
    kept = request.config.getoption("--hgedge-save")
    plot((RESULTS / machine_name() if kept else tmp_path) / f"{options.model}-sensitivity.png", document)
    assert seconds <= MOST_S
