"""Run the network in eager PyTorch on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hgedge.checkpoints import load_checkpoint
from hgedge.models.hourglass import HourglassNet, channels_last
from hgedge.spec import InputSpec, Manifest


class TorchSession:
    """FP32 as it comes, or BF16 autocast with channels last."""

    def __init__(
        self, net: HourglassNet, spec: InputSpec, precision: str = "fp32", num_stacks: int | None = None
    ) -> None:
        self.bf16 = precision == "bf16"
        self.stack = (num_stacks or net.config.num_stacks) - 1
        self.net = channels_last(net.eval()) if self.bf16 else net.eval()
        self.swap = spec.color == "rgb"
        self.mean = 255 * torch.tensor(spec.mean)[:, None, None]
        self.std = 255 * torch.tensor(spec.std)[:, None, None]

    @torch.inference_mode()
    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        image = torch.from_numpy(crops).permute(0, 3, 1, 2)
        image = ((image.flip(1) if self.swap else image) - self.mean) / self.std
        if self.bf16:
            image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            heatmaps = self.net(image, self.stack + 1)[:, -1]
        return heatmaps.float().numpy()

    def close(self) -> None:
        """Nothing to free."""


def load(folder: Path, manifest: Manifest) -> TorchSession:
    """Load the weights of a bundle whose hashes hold."""
    checkpoint = load_checkpoint(folder / "weights.safetensors")
    return TorchSession(checkpoint.net, manifest.input, manifest.precision, manifest.model.num_stacks)
