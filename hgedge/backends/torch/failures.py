"""What PyTorch says of a GPU that cannot do it, told as hgedge's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hgedge.errors import BackendUnavailable


@contextmanager
def out_of_memory_told(doing: str) -> Iterator[None]:
    """Raise BackendUnavailable where the GPU has too little memory, with what was needed and what was free."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        text = " ".join(str(error).split())
        told = re.search("[Tt]ried to allocate .* is free", text)
        raise BackendUnavailable(
            f"{doing} takes more memory than is free on the GPU: {told[0] if told else text}; "
            "close other programs, or take fewer at once"
        ) from error


@contextmanager
def failure_told(doing: str) -> Iterator[None]:
    """Raise BackendUnavailable where PyTorch cannot work on the GPU, such as one that it has no kernels for."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
        raise BackendUnavailable(
            f"{doing} failed on {name} with PyTorch {torch.__version__} (for CUDA {torch.version.cuda}, "
            f"{', '.join(torch.cuda.get_arch_list())}): {str(error).partition(chr(10))[0]}; install a PyTorch for this "
            "GPU and its driver: pytorch.org/get-started"
        ) from error
