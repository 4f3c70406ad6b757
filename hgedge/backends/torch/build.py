"""A PyTorch engine is the network's weights (`weights.safetensors`)."""

from __future__ import annotations

from pathlib import Path

import torch

from hgedge.backends.torch.network import DTYPES
from hgedge.checkpoints import Checkpoint
from hgedge.checkpoints.save import save_checkpoint
from hgedge.device import cpu
from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

UNSIGNED_AFTER_RELU = False


def version() -> str:
    """PyTorch's version."""
    return str(torch.__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise ConfigError for a precision that PyTorch has no engine for, BackendUnavailable for one that needs a GPU."""
    if precision not in DTYPES:
        raise ConfigError(f"backend torch runs {', '.join(DTYPES)}, but got --precision {precision}")
    if precision == "fp16" and not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built for CPUs"
        raise BackendUnavailable(
            f"fp16 on backend torch needs a CUDA device, but PyTorch {version()}, which {built}, finds none; "
            "use --precision fp32 or bf16, or --backend openvino, which stores FP16 and computes FP32 on CPUs"
        )


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
        ConfigError: There is no checkpoint: a bundle's portable half holds ONNX, which PyTorch does not run. Or FP16
            has no room for all of the network: here no single layers stay FP32.
    """
    if checkpoint is None:
        raise ConfigError("backend torch is built from a checkpoint, not from a bundle; name the checkpoint's file")
    if manifest.kept_fp32:
        raise ConfigError(
            f"fp16 has no room for {', '.join(manifest.kept_fp32)}, and backend torch keeps no single layers in fp32; "
            "use --precision bf16, or another backend"
        )
    save_checkpoint(
        folder / "weights.safetensors",
        checkpoint.net,
        name=checkpoint.name,
        input=manifest.input,
        keypoints=manifest.keypoints,
        decode=manifest.decode,
        half=False,
    )
