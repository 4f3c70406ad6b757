"""Run the network in eager PyTorch, on the CPU or a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hgedge.bundle import file_of
from hgedge.checkpoints import load_checkpoint
from hgedge.models.hourglass import HourglassNet, channels_last
from hgedge.spec import InputSpec, Manifest


class TorchSession:
    """FP32 as it comes, or BF16 autocast with channels last; the network moves to the device."""

    def __init__(
        self,
        net: HourglassNet,
        spec: InputSpec,
        precision: str = "fp32",
        num_stacks: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.bf16 = precision == "bf16"
        self.stack = (num_stacks or net.config.num_stacks) - 1
        self.net = (channels_last(net.eval()) if self.bf16 else net.eval()).to(self.device)
        self.swap = spec.color == "rgb"
        self.mean = 255 * torch.tensor(spec.mean, device=self.device)[:, None, None]
        self.std = 255 * torch.tensor(spec.std, device=self.device)[:, None, None]

    @torch.inference_mode()
    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        image = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2)
        image = ((image.flip(1) if self.swap else image) - self.mean) / self.std
        if self.bf16:
            image = image.contiguous(memory_format=torch.channels_last)
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # FP32 means FP32
        ):
            heatmaps = self.net(image, self.stack + 1)[:, -1]
        return heatmaps.float().cpu().numpy()

    def close(self) -> None:
        """Nothing to free."""


def load(folder: Path, manifest: Manifest) -> TorchSession:
    """Load the weights of a bundle whose hashes hold, onto the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = load_checkpoint(file_of(folder, manifest, "weights.safetensors"))
    return TorchSession(checkpoint.net, manifest.input, manifest.precision, manifest.model.num_stacks, device)
