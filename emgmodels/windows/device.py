"""Recordings in the memory of a GPU, where windows are gathered by one indexing operation.

They are loaded once in a process and kept for its next trials. Half precision, with a scale of its
own for each electrode, adds noise 70 dB below the signal at that moment, far below the EMG's own.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emgmodels.compute.transfer import sent
from emgmodels.config import BAND_ELECTRODES, BANDS
from emgmodels.windows.recording import Recording

if TYPE_CHECKING:
    from emgmodels.windows.cut import Cut

LARGEST_SHARE = 0.5
"""Of the free memory, what recordings may take; beyond it windows are copied from files."""
_PIECE = 1 << 18  # samples converted at once
# A factor of four below the largest half, which leaves room for rounding.
_LARGEST_HALF = 2.0**14


class DeviceRecordings:
    """The EMG of recordings as one array on a device.

    Args:
        recordings: what to load.
        device: where to.
        dtype: what samples are stored as; scaled by powers of two, so that float32 stays exact.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        device: torch.device,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        lengths = [recording.samples for recording in recordings]
        self.length = torch.tensor(lengths, device=device)  # (R,)
        self.first = torch.tensor([0, *np.cumsum(lengths)[:-1].tolist()], device=device)  # (R,)
        self.emg = torch.empty(BANDS, BAND_ELECTRODES, sum(lengths), dtype=dtype, device=device)
        self.scale = torch.empty(len(recordings), BANDS, BAND_ELECTRODES, device=device)
        begin = 0
        for index, recording in enumerate(recordings):
            scale = _scale(recording)
            self.scale[index] = scale.to(device)
            for low in range(0, recording.samples, _PIECE):
                piece = torch.from_numpy(np.array(recording.emg[..., low : low + _PIECE]))
                place = self.emg[..., begin + low : begin + low + piece.shape[-1]]
                # Powers of two change no digit: only the rounding to half precision does.
                place.copy_((piece / scale[..., None]).to(dtype))
            begin += recording.samples

    def cut(self, windows: np.ndarray, cut: Cut, rotation: np.ndarray, shift: np.ndarray) -> Tensor:
        """Return (N, B, E, S) samples, context included, mirrored at the ends of a recording.

        Args:
            windows: (N, 2) recording index and first sample of the labelled window.
            cut: how to cut.
            rotation: (N, 2) electrodes that each band is rotated by.
            shift: (N, 2) samples that each band is shifted by.
        """
        device, bands = self.emg.device, list(cut.bands)
        index = sent(torch.from_numpy(windows[:, 0].copy()), device)
        start = windows[:, 1:] - cut.before + shift[:, bands]  # (N, B)
        turned = np.arange(len(cut.electrodes)) - rotation[:, bands, None]  # (N, B, E)
        rows = np.asarray(cut.electrodes)[turned % len(cut.electrodes)]
        electrode = sent(torch.from_numpy(rows), device)[..., None]  # (N, B, E, 1)
        band = sent(torch.tensor(bands), device)[:, None, None]  # (B, 1, 1)
        place = sent(torch.from_numpy(start), device)[..., None]
        place = place + torch.arange(cut.samples, device=device)  # (N, B, S)
        last = (self.length[index] - 1)[:, None, None]
        place = ((place + last) % (2 * last).clamp(min=1) - last).abs()  # mirrored
        place = (place + self.first[index][:, None, None])[:, :, None]  # (N, B, 1, S)
        scale = self.scale[index[:, None, None, None], band, electrode]
        return self.emg[band, electrode, place].float() * scale


def recordings_on(
    device: torch.device, recordings: tuple[Recording, ...]
) -> DeviceRecordings | None:
    """Return recordings on a GPU, loaded once; None on a CPU, or where they don't fit.

    The two sets used last stay loaded: a trial's training and validation recordings.
    """
    # On a CPU the memory map is as fast, and all trials share its pages.
    if device.type != "cuda":
        return None
    try:
        return _loaded(device, recordings)
    except _TooLargeError:  # for now: another trial of this process may find more room
        return None


class _TooLargeError(Exception):
    """Recordings do not fit into what is free of a GPU's memory."""


@functools.lru_cache(maxsize=2)
def _loaded(device: torch.device, recordings: tuple[Recording, ...]) -> DeviceRecordings:
    free, total = torch.cuda.mem_get_info(device)
    # A trial may have a part of the GPU only, and free memory is then not all its own.
    own = torch.cuda.get_per_process_memory_fraction(device) * total
    room = min(free, own - torch.cuda.memory_reserved(device))
    size = 2 * BANDS * BAND_ELECTRODES * sum(recording.samples for recording in recordings)
    if size >= LARGEST_SHARE * room:
        raise _TooLargeError
    return DeviceRecordings(recordings, device)


def _scale(recording: Recording) -> Tensor:
    """Return (B, 16) powers of two that bring each electrode's samples into half precision."""
    largest = np.zeros((BANDS, BAND_ELECTRODES), dtype=np.float32)
    for low in range(0, recording.samples, _PIECE):
        largest = np.maximum(largest, np.abs(recording.emg[..., low : low + _PIECE]).max(-1))
    # Half precision overflows at 65,504 and loses digits below 6e-5. Volts are below, microvolts
    # may be above.
    exponent = np.ceil(np.log2(np.maximum(largest, 1e-30) / _LARGEST_HALF))
    return torch.from_numpy(np.exp2(exponent).astype(np.float32))
