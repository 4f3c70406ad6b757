"""From a model to a bundle."""

from hgedge.builder.build import build
from hgedge.builder.options import BuildOptions, BuildReport

__all__ = ["BuildOptions", "BuildReport", "build"]
