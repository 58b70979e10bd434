"""The name of a set of weights, by which a figure is told from that of other weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_BYTES = 16
"""Of the hash: two sets of weights never share it by chance."""


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Return a hash of a model's state: names, shapes, types and values of its tensors.

    It depends neither on the device, nor on the order of the names, nor on the file that they came
    from: a training's checkpoint and its export have the same.

    Args:
        state: a ``state_dict``.
    """
    digest = hashlib.blake2b(digest_size=_BYTES)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
