"""A PyTorch engine is the network's weights (`weights.safetensors`)."""

from __future__ import annotations

from pathlib import Path

import torch

from hgedge.checkpoints import Checkpoint
from hgedge.checkpoints.save import save_checkpoint
from hgedge.device import cpu
from hgedge.errors import ConfigError
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

UNSIGNED_AFTER_RELU = False


def version() -> str:
    """PyTorch's version."""
    return str(torch.__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise ConfigError for a precision that eager PyTorch has no engine for."""
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f"backend torch is the baseline, in fp32 or bf16, but got --precision {precision}")


def device() -> DeviceInfo:
    """The first GPU that PyTorch can use, or this machine's CPU."""
    if not torch.cuda.is_available():
        return cpu()
    major, minor = torch.cuda.get_device_capability(0)
    return DeviceInfo(torch.cuda.get_device_name(0), cpu().architecture, (f"sm_{major}{minor}",))


def build(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint | None = None, progress: Progress = no_progress
) -> None:
    """Write `weights.safetensors`.

    Raises:
        ConfigError: There is no checkpoint: a bundle's portable half holds ONNX, which PyTorch does not run.
    """
    if checkpoint is None:
        raise ConfigError("backend torch is built from a checkpoint, not from a bundle; name the checkpoint's file")
    save_checkpoint(
        folder / "weights.safetensors",
        checkpoint.net,
        name=checkpoint.name,
        input=manifest.input,
        keypoints=manifest.keypoints,
        decode=manifest.decode,
        half=False,
    )
