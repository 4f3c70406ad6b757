"""A model as a sweep sees it: how many stacks it has, and which input sizes it takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from hgedge import backends, device
from hgedge.builder import BuildOptions
from hgedge.builder.network import Network, network_of
from hgedge.builder.options import PLACEMENTS
from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.models.zoo import DEFAULT, SIZES
from hgedge.spec import PRECISIONS
from hgedge.sweep.grid import Candidate, candidates, size_text, sizes_around

Sizes = tuple[tuple[int, int], ...]
STORED_ONLY = {"openvino": ("fp16",)}  # precisions that a backend stores and does not compute in: as fast as FP32


@dataclass(frozen=True)
class Axes:
    """What was asked for of each axis; None: all of it, or what is sensible.

    Attributes:
        stacks: Numbers of them.
        sizes: Heights and widths of the input.
        precisions: Of `hgedge.spec.PRECISIONS`.
        placements: Of INT8.
    """

    stacks: tuple[int, ...] | None = None
    sizes: Sizes | None = None
    precisions: tuple[str, ...] | None = None
    placements: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, known in (("precisions", PRECISIONS), ("placements", PLACEMENTS)):
            wrong = [value for value in getattr(self, name) or () if value not in known]
            if wrong:
                raise ConfigError(f"--{name[:-1]} must be of {', '.join(known)}, but got {wrong[0]!r}")


@dataclass(frozen=True)
class Model:
    """What candidates are built of.

    Attributes:
        options: Of the builds, the backend chosen.
        network: As the model is, with all its stacks.
        own_stacks: The number that need not be asked for.
        own_hw: The input that need not be asked for; None: it must be.
        multiple: That heights and widths must be of; None: only `network`'s own fits, or whatever an ONNX file takes.
        said: What cannot be varied, and why.
    """

    options: BuildOptions
    network: Network
    own_stacks: int
    own_hw: tuple[int, int] | None
    multiple: int | None
    said: tuple[str, ...]

    @property
    def baseline(self) -> Candidate:
        """FP32 of the whole model, which all are timed beside."""
        return Candidate(self.network.num_stacks, self.network.input.hw, "fp32")

    def options_for(self, candidate: Candidate) -> BuildOptions:
        """What `hgedge build` takes to build a candidate; ranges that do not come with the model are left out."""
        int8 = candidate.precision == "int8"
        return dataclasses.replace(
            self.options,
            precision=candidate.precision,
            placement=candidate.placement,
            float_groups=self.options.float_groups if int8 else None,
            num_stacks=None if candidate.num_stacks == self.own_stacks else candidate.num_stacks,
            input_hw=None if candidate.input_hw == self.own_hw else candidate.input_hw,
            calibration=None,
            calibration_method=None,
        )

    def network_at(self, hw: tuple[int, int]) -> Network:
        """The whole network with an input of another size."""
        return dataclasses.replace(self.network, input=dataclasses.replace(self.network.input, hw=hw))


def opened(options: BuildOptions, axes: Axes) -> Model:
    """The model of a sweep.

    Raises:
        HgedgeError: It cannot be opened, or the backend is not here.
    """
    options = dataclasses.replace(options, backend=backends.choose(options.backend), data=None, max_drop=None)
    model = options.model or DEFAULT
    if model.lower().endswith(".onnx") and not Path(model).is_dir():
        return _of_onnx(options, axes)
    if model not in SIZES and Path(model).is_dir():
        network = network_of(options)
        said = f"{model} is a bundle, whose stacks and input are fixed: precisions and placements are swept"
        return Model(options, network, network.num_stacks, network.input.hw, None, (said,))
    from hgedge.builder.from_checkpoint import network_from_checkpoint

    network = network_from_checkpoint(options)
    config, own = network.source.net.config, network.source.input.hw
    said = f"{network.name} has one stack: input sizes and precisions are swept"
    one = (said,) if config.num_stacks == 1 else ()
    return Model(options, network, config.num_stacks, own, config.input_multiple, one)


def _of_onnx(options: BuildOptions, axes: Axes) -> Model:
    """The model of an ONNX file, whose stacks are fixed; its input may be free."""
    if options.input_hw is None and axes.sizes:
        options = dataclasses.replace(options, input_hw=axes.sizes[0])
    network = network_of(options)
    free = bool(network.suffixes)
    what = "stacks are" if free else "stacks and input are"
    said = f"{options.model} is an ONNX file, whose {what} fixed: " + ("sizes, " if free else "")
    fixed = (f"{said}precisions and placements are swept",)
    return Model(options, network, network.num_stacks, None if free else network.input.hw, None, fixed)


def grid_of(model: Model, axes: Axes) -> list[Candidate]:
    """The candidates of a sweep.

    Raises:
        ConfigError: The model has no such stacks, or takes no such input.
        BackendUnavailable: A precision was asked for that the backend does not compute here.
    """
    most = model.network.num_stacks
    stacks = axes.stacks or (tuple(range(1, most + 1)) if model.multiple else (most,))
    if not all(1 <= count <= most for count in stacks) or (model.multiple is None and set(stacks) != {most}):
        expected = f"from 1 to {most}" if model.multiple else f"{most}, which it has"
        raise ConfigError(f"--stacks must be {expected} for {model.network.name}, but got {','.join(map(str, stacks))}")
    return candidates(stacks, _sizes(model, axes.sizes), _precisions(model, axes), axes.placements or PLACEMENTS)


def _sizes(model: Model, asked: Sizes | None) -> Sizes:
    own, multiple = model.network.input.hw, model.multiple
    if asked is None:
        return sizes_around(own, multiple) if multiple else (own,)
    for hw in asked:
        model.network_at(hw)  # refuses what no network takes
        if multiple and any(side % multiple for side in hw):
            near = size_text(tuple(multiple * max(1, round(side / multiple)) for side in hw))  # type: ignore[arg-type]
            raise ConfigError(
                f"--input must be multiples of {multiple} for {model.network.name}, but got {size_text(hw)}; "
                f"the nearest is {near}"
            )
        if multiple is None and model.own_hw not in (None, hw):
            raise ConfigError(
                f"--input must be {size_text(own)}, to which {model.network.name} is fixed, but got {size_text(hw)}; "
                "leave --input out, or give the checkpoint"
            )
    return asked


def _precisions(model: Model, axes: Axes) -> tuple[str, ...]:
    """Those asked for, or all that the backend computes in on this machine."""
    backend, found = model.options.backend, []
    check = backends.builder(backend).check
    for precision in axes.precisions or PRECISIONS:
        if axes.precisions is None and precision in STORED_ONLY.get(backend, ()):
            continue
        try:
            check(precision, device.cpu())
        except (BackendUnavailable, ConfigError):
            if axes.precisions is not None or precision == "fp32":
                raise
            continue
        found.append(precision)
    return tuple(found)
