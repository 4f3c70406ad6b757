"""All checks: importing them adds them to the list."""

from __future__ import annotations

from tests.runtime.cuda.driver.checks import contexts, graphs, kernels, memory, streams  # noqa: F401
from tests.runtime.cuda.driver.checks.harness import CHECKS

__all__ = ["CHECKS"]
