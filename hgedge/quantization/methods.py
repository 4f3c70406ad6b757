"""The ways to draw a tensor's range from pictures, by name.

    mean-minmax       the mean over pictures of each picture's smallest and largest value: one odd picture then costs
                      no resolution in all the others
    minmax            the smallest and the largest value of all pictures
    percentile-P      clips |x| where P percent of all values lie below; `percentile` alone is 99.99
    mse               clips |x| where the mean squared error of clipping and rounding together is smallest
    entropy           clips |x| where rounding changes the distribution of values least (Kullback-Leibler)

The last three need histograms, see `hgedge.quantization.clip`.
"""

from __future__ import annotations

from hgedge.errors import ConfigError

METHODS = ("mean-minmax", "minmax", "percentile", "mse", "entropy")
OF_HISTOGRAMS = METHODS[2:]
DEFAULT_METHOD = "mean-minmax"
DEFAULT_PERCENTILE = 99.99
MIN_PERCENTILE = 50.0  # below it most of a tensor would be clipped


def method_named(name: str) -> str:
    """A method's full name, with its parameter: of `percentile` it is `percentile-99.99`.

    Raises:
        ConfigError: No method has this name, or the percentile is none.
    """
    base, _, parameter = name.partition("-") if name.startswith("percentile") else (name, "", "")
    if base not in METHODS:
        raise ConfigError(f"no calibration method is called {name!r}; choose one of: {', '.join(METHODS)}")
    return f"{base}-{_percentile(parameter, name):g}" if base == "percentile" else name


def needs_histograms(method: str) -> bool:
    """Whether a method, by its full name, looks at more than smallest and largest values."""
    return method.partition("-")[0] in OF_HISTOGRAMS


def percentile_in(method: str) -> float:
    """The parameter of `percentile-P`."""
    return float(method.removeprefix("percentile-"))


def _percentile(parameter: str, name: str) -> float:
    try:
        percentile = float(parameter) if parameter else DEFAULT_PERCENTILE
    except ValueError:
        percentile = float("nan")
    if not MIN_PERCENTILE <= percentile <= 100 or name.endswith("-"):
        raise ConfigError(
            f"the calibration method percentile-P takes a P of {MIN_PERCENTILE:g} to 100, such as "
            f"percentile-{DEFAULT_PERCENTILE:g}, but got {name!r}"
        )
    return percentile
