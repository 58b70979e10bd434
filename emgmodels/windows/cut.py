"""How windows are cut out of recordings, and the batch they become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from emgmodels.compute.transfer import sent
from emgmodels.config import BANDS, SAMPLE_RATE, TrainingConfig
from emgmodels.config.electrodes import band_indices, electrode_indices

if TYPE_CHECKING:
    from emgmodels.network.network import Framing, Network


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows cut to one length, with their labels.

    Attributes:
        emg: (N, B, E, S) samples, context included.
        labels: (N, K) labels, padded with 0.
        label_lengths: (N,) labels of each window.
        label_samples: (N, K) samples from the window's start to the key press, as the cut's
            ``key_lag_ms`` corrects it; -1 where padded, before the window, or where the session
            has no key times that can be relied on.
        lengths: (N,) samples of each labelled window, where they are prompts and differ; what is
            cut beyond a prompt's own end belongs to no label.
    """

    emg: Tensor
    labels: Tensor
    label_lengths: Tensor
    label_samples: Tensor
    lengths: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its EMG on a device; what the losses need of the rest they send."""
        return replace(self, emg=sent(self.emg, device))


@dataclass(frozen=True)
class Cut:
    """How windows are cut out of recordings; follows from the model and its training.

    Attributes:
        window: samples of the labelled window.
        before: samples before it.
        samples: samples in all.
        electrodes: electrodes of each band, in the model's order.
        bands: bands used, left is 0.
        rotation: training only: largest rotation of a band, in electrodes.
        band_jitter: training only: largest shift between the bands, in samples.
        crops: training only: a batch's windows are shortened by up to that many steps.
        step: samples of such a step: those between the model's output frames.
        stretch: training only: largest part by which a batch is played faster or slower.
        rate: samples of the recording for one of the window as it is played.
        key_lag_ms: how ``label_samples`` are corrected; which keys a window has stays the same.
    """

    window: int
    before: int
    samples: int
    electrodes: tuple[int, ...]
    bands: tuple[int, ...] = tuple(range(BANDS))
    rotation: int = 0
    band_jitter: int = 0
    crops: int = 0
    step: int = 1
    stretch: float = 0.0
    rate: float = 1.0
    key_lag_ms: float | Literal["auto"] = 0.0


def cut_for(model: Network, training: TrainingConfig, window: int) -> tuple[Framing, Cut]:
    """Return how windows are framed and cut for a model, with the context of its training.

    Args:
        model: the model.
        training: how it is trained.
        window: samples of the labelled window.

    Raises:
        ValueError: the window is shorter than a frame, or longer than a stage can take.
    """
    context = (training.past_seconds, training.future_seconds)
    # Windows get what the model consumes, or the configured context, whichever is longer. What is
    # left over is cropped after the model, so all architectures are scored on the same frames.
    framing = model.framing(window, *(round(seconds * SAMPLE_RATE) for seconds in context))
    electrodes, choice = model.config.electrodes, model.config.electrode_choice
    cut = Cut(
        window=window,
        before=framing.before,
        samples=framing.samples,
        electrodes=tuple(electrode_indices(electrodes, choice)),
        bands=tuple(band_indices(choice)),
    )
    return framing, cut


def usable_rotation(electrodes: int, rotation: int) -> int:
    """Return by how many of the used electrodes a band may be rotated.

    A rotation is limited in angle, not in electrodes: with fewer of them around the wrist, there
    may be none within reach.
    """
    # With 8 electrodes the next one is 45 degrees away, with 4 it is 90. No wristband is worn
    # that far off.
    return rotation * electrodes // 16


def mirrored(places: np.ndarray, total: int) -> np.ndarray:
    """Return the sample of a recording that stands at each place, before and after it too.

    Args:
        places: samples from the recording's first; it is mirrored at its ends.
        total: samples of the recording.
    """
    if total == 1:
        return np.zeros_like(places)
    return np.abs((places + total - 1) % (2 * total - 2) - (total - 1))


def milliseconds(ms: float) -> int:
    """Return the samples of a duration."""
    return round(ms * SAMPLE_RATE / 1000)
