"""Run all checks and print what went wrong with each, as JSON. The driver must be on LD_LIBRARY_PATH."""

from __future__ import annotations

import json
import sys

import pycuda.driver  # noqa: F401  (before the forks, which then need not)

from tests.runtime.cuda.driver.checks.every import CHECKS
from tests.runtime.cuda.driver.checks.harness import run

json.dump({name: run(name) for name in CHECKS}, sys.stdout)
