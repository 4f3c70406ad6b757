"""From a model to a bundle."""

from hgedge.builder.build import build
from hgedge.builder.options import BuildOptions, BuildReport, options_of

__all__ = ["BuildOptions", "BuildReport", "build", "options_of"]
