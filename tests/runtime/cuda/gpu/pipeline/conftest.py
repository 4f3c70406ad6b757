"""A photograph, pipelines that are closed after a test, and what lives on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.pipeline import CudaPipeline
from hgedge.spec import DecodeSpec
from tests.runtime.cuda.gpu.pipeline.numpy_engine import POINTS, StreamSession


@pytest.fixture(scope="session")
def astronaut(root) -> np.ndarray:
    """(384, 384, 3) uint8, BGR."""
    return cv2.resize(cv2.imread(str(root / "hgedge" / "pictures" / "astronaut.jpg")), (384, 384))


@pytest.fixture
def made() -> Iterator[Callable[..., CudaPipeline]]:
    """made(graphs=True, ...): a pipeline, closed after the test; options as of StreamSession."""
    pipelines = []

    def make(
        graphs: bool = True, decode: DecodeSpec | None = None, session: StreamSession | None = None, **options
    ) -> CudaPipeline:
        session = session or StreamSession(**options)
        try:
            pipelines.append(CudaPipeline(session, session.spec, POINTS, decode or DecodeSpec(), graphs=graphs))
        except BaseException:
            session.close()
            raise
        return pipelines[-1]

    yield make
    for pipeline in pipelines:
        pipeline.close()


@pytest.fixture
def live(simulated, request) -> Callable[[], dict[str, int]]:
    """live(): what lives on the simulated driver, or the device's memory that is in use."""
    if simulated:
        return lambda: request.getfixturevalue("statistics")()["live"]

    def used() -> dict[str, int]:
        context = CudaContext()
        free, total = context.memory_bytes()
        context.close()
        return {"bytes": total - free}

    return used
