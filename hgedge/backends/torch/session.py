"""Run the network in PyTorch: eager on a CPU, replayed as CUDA graphs on a GPU."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hgedge.backends.torch.failures import out_of_memory_told
from hgedge.backends.torch.network import DTYPES, reduced
from hgedge.bundle import file_of
from hgedge.checkpoints import load_checkpoint
from hgedge.models.hourglass import HourglassNet
from hgedge.spec import InputSpec, Manifest

log = logging.getLogger(__name__)


class TorchSession:
    """Eager, on any device: FP32 as it comes, or FP16 or BF16 with channels last; in FP32 the network itself moves."""

    def __init__(
        self,
        net: HourglassNet,
        spec: InputSpec,
        precision: str = "fp32",
        num_stacks: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.dtype = DTYPES[precision]
        self.stack = (num_stacks or net.config.num_stacks) - 1
        self.net = (net if self.dtype is torch.float32 else reduced(net, self.dtype)).eval().to(self.device)
        self.swap = spec.color == "rgb"
        self.mean = 255 * torch.tensor(spec.mean, device=self.device)[:, None, None]
        self.std = 255 * torch.tensor(spec.std, device=self.device)[:, None, None]

    @torch.inference_mode()
    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`.

        Raises:
            BackendUnavailable: The GPU has too little memory for so many at once.
        """
        with out_of_memory_told(f"inference of {len(crops)} crops"):
            image = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2)
            return self.infer(((image.flip(1) if self.swap else image) - self.mean) / self.std).float().cpu().numpy()

    def infer(self, image: Tensor, search: bool = False) -> Tensor:
        """Predict heatmaps of normalised images, both on the device.

        Args:
            image: (N, C, H, W) floats.
            search: Let cuDNN time its kernels for shapes that are new to it, and take the fastest.

        Returns:
            (N, K, h, w) of the last stack, in the session's own type.
        """
        if self.dtype is not torch.float32:
            image = image.to(self.dtype, memory_format=torch.channels_last)
        with torch.backends.cudnn.flags(enabled=True, benchmark=search, allow_tf32=False):  # FP32 means FP32
            return self.net(image, self.stack + 1)[:, -1]

    def close(self) -> None:
        """Nothing to free."""


def load(folder: Path, manifest: Manifest) -> TorchSession:
    """Load the weights of a bundle whose hashes hold, onto the GPU where there is one.

    With pycuda it is a `hgedge.backends.base.DeviceSession`: pipelines keep frames, crops and heatmaps on the device.
    """
    checkpoint = load_checkpoint(file_of(folder, manifest, "weights.safetensors"))
    network = (checkpoint.net, manifest.input, manifest.precision, manifest.model.num_stacks)
    if not torch.cuda.is_available():
        return TorchSession(*network)
    if importlib.util.find_spec("pycuda") is None:
        log.info("pycuda is not installed, so frames are cropped on the CPU; pip install 'hgedge[tensorrt]'")
        return TorchSession(*network, device="cuda")
    from hgedge.backends.torch.cuda import TorchCudaSession

    return TorchCudaSession(*network, sizes=manifest.batch)
