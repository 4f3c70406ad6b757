"""How pictures may have been normalised instead: each way is one mistake away from what the manifest tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from hgedge.errors import ConfigError
from hgedge.spec import InputSpec

Values = tuple[float, ...]
Names = tuple[str, ...]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
HOURGLASS = ((0.4404, 0.444, 0.4327), (1.0,) * 3)  # the published PyTorch port's MPII mean
CONVENTIONS = (IMAGENET, HALF, HOURGLASS)
OTHER_COLOR = {"rgb": "bgr", "bgr": "rgb"}


def alternatives(told: InputSpec) -> Iterator[tuple[Names, InputSpec]]:
    """Names of mistakes -> the input that one side has if these were made, nearest first, none twice.

    Args:
        told: What the manifest says, on the other side. Whether it is what lacks the mean or the other side is the
            same mistake by name, so conventions that are not told are tried too.
    """
    seen = {_key(told)}
    colors: list[tuple[Names, str]] = [((), told.color)]
    colors += [(("color-swapped",), OTHER_COLOR[told.color])] if told.color in OTHER_COLOR else []
    for names, mean, std in (((), told.mean, told.std), *_means_and_stds(told)):
        for swapped, color in colors:
            try:
                spec = dataclasses.replace(told, color=color, mean=mean, std=std)
            except ConfigError:  # numbers too large to be anybody's
                continue
            if _key(spec) not in seen:
                seen.add(_key(spec))
                yield (*swapped, *names), spec


def _means_and_stds(told: InputSpec) -> Iterator[tuple[Names, Values, Values]]:
    mean, std, count = told.mean, told.std, told.channels
    zero, one = (0.0,) * count, (1.0,) * count
    yield ("mean-missing",), zero, std
    yield ("std-missing",), mean, one
    yield ("mean-missing", "std-missing"), zero, one
    yield ("scale-missing",), _times(mean, 1 / 255), _times(std, 1 / 255)
    yield ("scale-missing",), _times(mean, 255), _times(std, 255)
    yield ("scale-missing", "mean-missing", "std-missing"), zero, _times(one, 1 / 255)
    twice = tuple(m * (1 + s) for m, s in zip(mean, std)), tuple(s * s for s in std)
    yield ("normalised-twice",), *twice
    yield ("other-normalisation",), mean[::-1], std[::-1]
    for other_mean, other_std in CONVENTIONS:
        its_mean, its_std = other_mean[:count], other_std[:count]
        for pair in ((its_mean, std), (mean, its_std), (its_mean, its_std)):
            yield _names(told, *pair), *pair


def _names(told: InputSpec, mean: Values, std: Values) -> Names:
    """What is missing in the manifest if the other side has this mean and this standard deviation."""
    names = []
    if mean != told.mean:
        names.append("mean-missing" if not any(told.mean) or not any(mean) else "other-normalisation")
    if std != told.std:
        ones = {(1.0,) * told.channels}
        names.append("std-missing" if {std, told.std} & ones else "other-normalisation")
    return tuple(dict.fromkeys(names))


def _times(values: Values, factor: float) -> Values:
    return tuple(value * factor for value in values)


def _key(spec: InputSpec) -> tuple[object, ...]:
    return spec.color, *(round(value, 9) for value in (*spec.mean, *spec.std))
