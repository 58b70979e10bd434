"""Weights: read from files, put into models, told apart by a hash."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emgmodels.paths import refuse_pointer, unread
from emgmodels.saying import counted

_SHOWN = 4
"""Tensors that a message names."""
_HASH_BYTES = 16
"""Two sets of weights never share a hash of this length by chance."""


_TRAINING = {"config", "epoch", "step", "model", "optimizer"}
_TRAINING |= {"best", "best_cer", "best_epoch", "best_windows"}


def read_state(
    path: Path,
    device: str | torch.device = "cpu",
    otherwise: Callable[[Path], Any] | None = None,
) -> dict[str, Any]:
    """Return what a checkpoint holds, without executing anything that it names.

    Args:
        path: the checkpoint.
        device: where its tensors go.
        otherwise: what reads a file that holds more than tensors and plain values.

    Raises:
        ValueError: there is no such file, or it is no checkpoint, or a damaged one.
    """
    if not path.is_file():
        found = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise ValueError(f"{path}: cannot be read: {os.strerror(found)}: expected a checkpoint")
    # Otherwise torch would complain about an invalid header, which says nothing about Git LFS.
    refuse_pointer(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except PermissionError as error:
        raise ValueError(unread(path, error)) from None
    except Exception as error:
        # Only this error means that the file names other classes. A damaged file is not read a
        # second way.
        if otherwise is None or not isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"{path}: {_why_unread(path, error)}") from None
        state = otherwise(path)
    if not isinstance(state, dict):
        raise ValueError(f"{path}: holds no weights: expected a checkpoint")
    return state


def read_training(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what a training goes on from; errors as of ``read_state``."""
    state = read_state(path, device)
    if missing := _TRAINING - set(state):
        raise ValueError(f"{path}: is not a checkpoint of emgsearch: {sorted(missing)} missing")
    return state


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Put weights into a model.

    Raises:
        ValueError: they are of another model; the message names tensors and shapes.
    """
    expected = model.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in weights]
    wrong += [f"{name} is not part of the model" for name in weights if name not in expected]
    for name, tensor in weights.items():
        if name not in expected:
            continue
        if not isinstance(tensor, Tensor):
            wrong.append(f"{name} is {type(tensor).__name__}, not a tensor")
        elif tensor.shape != expected[name].shape:
            is_, needed = shape_of(tensor.shape), shape_of(expected[name].shape)
            wrong.append(f"{name} is {is_}, and the configuration needs {needed}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ValueError(
            f"its weights are not those of its configuration: {'; '.join(wrong[:_SHOWN])}{more}"
        )
    # Checked above with shapes and names: torch's own message lists hundreds of tensors.
    model.load_state_dict(weights)


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Return a hash of a model's state: names, shapes, types and values of its tensors.

    It depends neither on the device, nor on the order of the names, nor on the file that they came
    from: a training's checkpoint and its export have the same.

    Args:
        state: a ``state_dict``.
    """
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Type and shape as well: the same bytes may be other numbers.
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(memoryview(values))
    return digest.hexdigest()


def _why_unread(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that torch does not read."""
    size = path.stat().st_size
    if not size:
        return "is empty: write or copy it again"
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive and not zipfile.is_zipfile(
        path
    ):  # what torch writes begins so, and its table of contents stands at the end
        return (
            f"is cut off or damaged ({counted(size, 'byte is', 'bytes are')} there): write or "
            f"copy it again"
        )
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"is not a checkpoint: {why[:200]}"


def shape_of(shape: Sequence[int]) -> str:
    """Return a tensor's shape in words."""
    return " x ".join(map(str, shape)) or "a number"
