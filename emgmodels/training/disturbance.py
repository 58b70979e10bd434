"""Random disturbances of training EMG: gain, noise, electrodes without contact."""

from __future__ import annotations

import torch
from torch import Tensor

from emgmodels.compute.transfer import sent
from emgmodels.config import AugmentationConfig


def disturbed(emg: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Return (N, B, E, S) samples with the disturbances that are switched on.

    Args:
        emg: windows of EMG; they stay as they are.
        config: which, and how strong.
        generator: on the CPU, of all random numbers; what is off draws none.
    """
    each = (*emg.shape[:3], 1)  # of every electrode of a window
    if config.noise_jitter:
        strength = config.noise_jitter * torch.rand(each, generator=generator)
        noise = strength * torch.randn(emg.shape, generator=generator)
        emg = emg + sent(noise, emg.device) * emg.std(-1, keepdim=True)
    if config.gain_jitter_db:
        decibels = config.gain_jitter_db * (2 * torch.rand(each, generator=generator) - 1)
        emg = emg * sent(10 ** (decibels / 20), emg.device)
    if config.electrode_dropout:
        kept = torch.rand(each, generator=generator) >= config.electrode_dropout
        emg = emg * sent(kept, emg.device)
    return emg
