"""Where to compute: found, and checked before any work is done."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return _numbered(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def find_device(name: str | torch.device | None = None) -> torch.device:
    """Return a device that this machine can compute on.

    Args:
        name: such as ``cpu``, ``cuda`` or ``cuda:1``; None: the GPU if there is one, else the CPU.

    Returns:
        The device; a GPU always has its number, which parts of ``torch.cuda`` ask for.

    Raises:
        ValueError: there is no such device, or it is not to be used here.
    """
    if name is None:
        return best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r}: is none: {_choices()}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = "no GPU is found here" if built else "this PyTorch is built without GPUs"
        raise ValueError(f"device {name!r}: {why}: {_choices()}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: is not there: {_choices()}")
    try:
        # A computation and not a question: a driver that is too old answers that the GPU is
        # there.
        usable = device.type != "meta" and (torch.zeros(1, device=device) + 1).item() == 1
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        usable = False
    if not usable:
        raise ValueError(f"device {name!r}: can't compute here: {_choices()}")
    return _numbered(device)


def _numbered(device: torch.device) -> torch.device:
    """Return a GPU by its number: parts of torch.cuda refuse a device without one."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _choices() -> str:
    """Return what to give instead."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{index}" for index in range(gpus))]
    return f"use {' or '.join(names)}, or leave it out"
