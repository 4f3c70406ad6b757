"""The stacked hourglass (`hgedge.models.hourglass`, which needs PyTorch) and the sizes of it that have names."""

from hgedge.models.zoo import config_of, pulled_weights, shipped_half, shipped_ranges, shipped_weights, zoo_names

__all__ = ["config_of", "pulled_weights", "shipped_half", "shipped_ranges", "shipped_weights", "zoo_names"]
