"""A model follows a person it has never seen: its norm by the session, without any label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from emgmodels.config import SAMPLE_RATE
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.network.front import SpectrogramNorm
from emgmodels.network.network import Network
from emgmodels.windows.recording import Recording

NORM = "norm"
"""What can be adapted: the spectrogram norm's statistics."""
_PIECE = 16 * SAMPLE_RATE
"""Samples whose features are computed at once."""


def can_adapt(model: Network) -> bool:
    """Return whether a model's norm has statistics; a rolling one follows a session by itself."""
    return isinstance(model.norm, SpectrogramNorm)


@contextmanager
def adapted(model: Network, recording: Recording) -> Iterator[None]:
    """Let a model's norm have the statistics of a session for a while, instead of its training's.

    Args:
        model: in evaluation mode, with a norm that has statistics.
        recording: the session; its labels are not looked at.
    """
    norm = model.norm
    assert isinstance(norm, SpectrogramNorm)
    own = [buffer.clone() for buffer in norm.statistics]
    try:
        for buffer, value in zip(norm.statistics, _statistics(model, recording), strict=True):
            buffer.copy_(value)
        yield
    finally:
        for buffer, value in zip(norm.statistics, own, strict=True):
            buffer.copy_(value)


@torch.inference_mode()
def _statistics(model: Network, recording: Recording) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of the norm, over all of a session."""
    norm, config = model.norm, model.config
    assert isinstance(norm, SpectrogramNorm)
    device = norm.statistics[0].device
    electrodes = electrode_indices(config.electrodes, config.electrode_choice)
    bands = band_indices(config.electrode_choice)
    total = torch.zeros(len(norm.statistics[0]), dtype=torch.double, device=device)
    squares, count = torch.zeros_like(total), 0
    for low in range(0, recording.samples, _PIECE):
        # A slice first: an hour need not be in memory at once.
        part = recording.emg[:, :, low : low + _PIECE]
        piece = torch.from_numpy(np.ascontiguousarray(part[bands][:, electrodes]))
        if piece.shape[2] < max(model.spectrogram.n_fft, model.spectrogram.hop):
            break
        values = norm.channels(model.spectrogram(piece[None].to(device))).double()
        total = total + values.sum(1)
        squares = squares + values.square().sum(1)
        count += values.shape[1]
    if not count:  # less than a frame
        return norm.statistics
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    return mean, variance
