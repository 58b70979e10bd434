"""Copies from the CPU's memory to a GPU's that no step waits for."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; to a GPU it is copied while the CPU goes on."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    # Only pinned memory can be copied while the CPU goes on; from any other, the copy waits.
    return values.pin_memory().to(device, non_blocking=True)
