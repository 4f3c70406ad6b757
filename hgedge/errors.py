"""Every error that hgedge raises on purpose.

    HgedgeError
    ├── ConfigError          a recipe, option or configuration value is wrong
    ├── CheckpointError      a weights file cannot be read or belongs to another network
    ├── ShapeError           an array has the wrong shape or dtype
    ├── ExportError          PyTorch to ONNX, or a rewrite of the graph, failed
    ├── QuantizationError    calibration data or ranges cannot be used
    ├── BackendUnavailable   a backend or device that was asked for is not here
    ├── EngineMismatch       a bundle does not fit this machine, or is not whole
    ├── KernelError          a CUDA kernel failed to compile or launch
    ├── SourceError          a camera, video, picture or data set cannot be read
    └── NoisyMachine         other processes take so much of the CPU that nothing can be timed

A message says what was expected, what was found, and what to do.
"""


class HgedgeError(Exception):
    """Base of all errors raised by hgedge; ends a command with `exit_code`."""

    exit_code = 2


class ConfigError(HgedgeError):
    """A recipe, option or configuration value is wrong."""


class CheckpointError(HgedgeError):
    """A weights file cannot be read or belongs to another network."""


class ShapeError(HgedgeError):
    """An array has the wrong shape or dtype."""


class ExportError(HgedgeError):
    """PyTorch to ONNX, or a rewrite of the graph, failed."""


class QuantizationError(HgedgeError):
    """Calibration data or ranges cannot be used."""


class BackendUnavailable(HgedgeError):
    """A backend or device that was asked for is not available on this machine."""

    exit_code = 3


class EngineMismatch(HgedgeError):
    """A bundle does not fit this machine, or is not whole."""


class KernelError(HgedgeError):
    """A CUDA kernel failed to compile or launch."""


class SourceError(HgedgeError):
    """A camera, video, picture or data set cannot be read."""


class NoisyMachine(HgedgeError):
    """Other processes take so much of the CPU that nothing can be timed."""
