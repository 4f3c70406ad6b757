"""Whether a plan may be loaded here: NVIDIA's rules, asked of the manifest, before anything of the plan is read."""

from __future__ import annotations

from pathlib import Path

from hgedge.backends.tensorrt.configure import AMPERE
from hgedge.backends.tensorrt.gpu import capability
from hgedge.bundle import engine_of, rebuild
from hgedge.errors import EngineMismatch
from hgedge.spec import DeviceInfo, EngineOptions, Manifest

FIRST_COMPATIBLE = (8, 6)
NEXT_MAJOR = {8: 10, 10: 11}  # whose engines a later major version runs too


def check_fits(folder: Path, manifest: Manifest, here: DeviceInfo, version: str, portable: bool = False) -> None:
    """Check an engine's device, system and version against this machine's.

    Args:
        folder: The bundle.
        manifest: Of the bundle.
        here: The GPU of this machine.
        version: Of the library on this machine.
        portable: The library itself says which GPUs an engine runs on, as TensorRT-RTX does.

    Raises:
        EngineMismatch: They do not go together.
    """
    backend, built = engine_of(folder, manifest)
    options = manifest.engine_options
    system = (built.system, built.architecture) == (here.system, here.architecture)
    if not system or not (portable or _runs_on(built, here, options)):
        what, this = (
            f"{device.name} ({', '.join((*device.features, device.system, device.architecture))})"
            for device in (built, here)
        )
    elif not _runs_with(backend.version, version, options.version_compatible):
        what, this = f"{backend.name} {backend.version}", version
    else:
        return
    raise EngineMismatch(f"{folder} was built for {what}, but this machine has {this}; {rebuild(manifest, folder)}")


def _runs_on(built: DeviceInfo, here: DeviceInfo, options: EngineOptions) -> bool:
    if options.hardware_compatible:
        return capability(here) >= AMPERE
    return (built.name, built.features) == (here.name, here.features)


def _runs_with(built: str, here: str, version_compatible: bool) -> bool:
    """Source: NVIDIA's support matrix: newer ones of the same major version; 8 on 10 and 10 on 11, no other."""
    if not version_compatible or built == here:
        return built == here
    old, new = _numbers(built), _numbers(here)
    major = new[0] == old[0] or new[0] == NEXT_MAJOR.get(old[0])
    return major and FIRST_COMPATIBLE <= old <= new


def _numbers(version: str) -> tuple[int, ...]:
    """(10, 3, 0) of "10.3.0" or "10.3.0.post1"."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
