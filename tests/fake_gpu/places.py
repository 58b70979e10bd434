"""Where a tensor is: a mark on its storage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
TWO_DEVICES = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
)
FLOAT64 = (torch.float64, torch.complex128)


class Refused(RuntimeError):
    """What CUDA refuses, or does in another way than was meant."""


def on_gpu(tensor: Tensor) -> bool:
    """Return whether a tensor is on the fake GPU."""
    with torch._C.DisableTorchFunction():
        return getattr(tensor.untyped_storage(), "on_gpu", False)


def pinned(x: Tensor, device: Any = None) -> Tensor:
    if on_gpu(x):
        raise Refused("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be pinned")
    found = x.clone()
    found.untyped_storage().pinned = True  # type: ignore[attr-defined]
    return found


def is_pinned(x: Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return getattr(x.untyped_storage(), "pinned", False)


def mark(tensor: Tensor, on_gpu: bool = True) -> None:
    with torch._C.DisableTorchFunction():
        tensor.untyped_storage().on_gpu = on_gpu  # type: ignore[attr-defined]


def is_gpu(place: Any) -> bool:
    device = torch.device(place)
    if device.type == "cuda" and (device.index or 0) > 0:
        raise Refused(f"invalid device ordinal: {device}, there is one GPU")
    return device.type == "cuda"


def tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def shown(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{kind}{list(tensor.shape)} of {'cuda:0' if on_gpu(tensor) else 'cpu'}"
