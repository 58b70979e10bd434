"""What a training is fed with: windows where keys have times, else whole prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from emgmodels.config import SAMPLE_RATE, Config
from emgmodels.network.network import Framing, Network
from emgmodels.windows.batches import batches, prompt_batch, window_starts
from emgmodels.windows.cut import Batch, Cut, cut_for, milliseconds, usable_rotation
from emgmodels.windows.device import DeviceRecordings
from emgmodels.windows.prompts import prompt_groups, prompt_windows
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording
from emgmodels.windows.users import balanced


class Feed:
    """Batches for one model, and which of its frames they label.

    Attributes:
        train_framing: how training windows are framed.
        train_cut: how they are cut, augmentation included.
        val_framing: how validation windows are framed.
        val_cut: how they are cut.
    """

    def __init__(self, model: Network, config: Config, device: torch.device) -> None:
        self.model, self.config, self.device = model, config, device
        self.train_framing, cut = self._framed(config.training.window_seconds)
        self.train_cut = self._augmented(self.train_framing, cut)
        self.val_framing, self.val_cut = self._framed(VALIDATION_SECONDS)

    def windows(self, recordings: Sequence[Recording], rng: np.random.Generator) -> np.ndarray:
        """Return an epoch's windows of sessions with key times, in random order."""
        # Without jitter windows begin at the same samples in each epoch, and only their order is
        # random.
        jitter = rng if self.config.training.augmentation.window_jitter else None
        windows = window_starts(recordings, self.train_cut.window, jitter)
        return windows if jitter is not None else rng.permutation(windows)

    def balanced(
        self,
        recordings: Sequence[Recording],
        rows: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return an epoch's windows or prompts, equally many of each session or user if so set."""
        kind = self.config.training.balance
        if kind == "windows":
            return rows
        groups = [r.user if kind == "users" else str(place) for place, r in enumerate(recordings)]
        return balanced(rows, groups, rng)

    def prompts(self, recordings: Sequence[Recording]) -> np.ndarray:
        """Return (P, 5) the prompts to train on: those that the model takes at once."""
        prompts = prompt_windows(recordings)
        lengths = (prompts[:, 2] - prompts[:, 1]).tolist()
        # A prompt that is too long for the model is left out of training only: validation must be
        # on the same text for all models.
        taken = [self.model.takes(length, self.config.training) for length in lengths]
        return prompts[np.array(taken, dtype=bool)]

    def steps(self, windows: np.ndarray, prompts: np.ndarray) -> int:
        """Return the batches of an epoch, to one or two where there are prompts."""
        return math.ceil(len(windows) / self.config.training.batch_size) + len(
            self._groups(prompts)
        )

    def batches(
        self,
        recordings: Sequence[Recording],
        windows: np.ndarray,
        prompts: np.ndarray,
        rng: np.random.Generator,
        loaded: DeviceRecordings | None = None,
    ) -> Iterator[Batch]:
        """Yield an epoch's batches, those of prompts among the others at random.

        Args:
            recordings: what the windows and prompts index.
            windows: (W, 2), from ``windows``.
            prompts: (P, 5), from ``prompts``.
            rng: draws what is random in an epoch.
            loaded: the EMG of the recordings on a device; None: it is read from their files.
        """
        size = self.config.training.batch_size
        keyed = batches(recordings, windows, size, self.train_cut, rng, loaded)
        if not len(prompts):
            yield from keyed
            return
        groups = self._groups(prompts, rng)
        # Prompts are spread among the windows: an epoch that ended with prompts alone would pull
        # the weights towards them.
        turns = np.repeat([True, False], [math.ceil(len(windows) / size), len(groups)])
        rest = iter(groups)
        for is_keyed in rng.permutation(turns):
            yield next(keyed) if is_keyed else self._prompts(recordings, next(rest), rng, loaded)

    def validation(
        self, recordings: Sequence[Recording], loaded: DeviceRecordings | None
    ) -> Iterator[Batch]:
        """Yield validation windows of sessions with key times, in order."""
        windows = window_starts(recordings, self.val_cut.window)
        size = self.config.training.batch_size
        yield from batches(recordings, windows, size, self.val_cut, device=loaded)

    def prompt(
        self, recordings: Sequence[Recording], prompt: np.ndarray, loaded: DeviceRecordings | None
    ) -> tuple[Batch, Framing]:
        """Return a validation prompt, (5,), that the model takes at once, and its framing.

        It is a batch by itself: what is read in it depends on no other, and no frame is beyond
        its end.
        """
        # In a batch of several, a recurrent network would read on behind the shorter ones.
        framing, cut = cut_for(self.model, self.config.training, int(prompt[2] - prompt[1]))
        return prompt_batch(recordings, prompt[None], cut, device=loaded), framing

    def framing_of(self, batch: Batch) -> tuple[Framing, Tensor | None]:
        """Return how a training batch is framed, and the (N,) frames of each prompt in it."""
        framing = self.train_framing
        if batch.lengths is None:
            removed = (framing.samples - batch.emg.shape[-1]) // framing.step  # by random cropping
            return replace(framing, frames=framing.frames - removed), None
        framing, _ = cut_for(self.model, self.config.training, int(batch.lengths.max()))
        # What is cut behind the end of a shorter prompt belongs to another prompt. Its frames are
        # kept out of the loss.
        frames = batch.lengths // self.model.spectrogram.hop
        return framing, -(-frames // self.model.stride)

    def _groups(
        self, prompts: np.ndarray, rng: np.random.Generator | None = None
    ) -> list[np.ndarray]:
        """Return prompts in groups of as much EMG as a batch of windows, to bound memory."""
        # As much EMG as a batch of windows has, because memory grows with the frames of a batch.
        return prompt_groups(prompts, self.config.training.batch_size * self.train_cut.window, rng)

    def _prompts(
        self,
        recordings: Sequence[Recording],
        prompts: np.ndarray,
        rng: np.random.Generator,
        loaded: DeviceRecordings | None,
    ) -> Batch:
        """Return a training batch of prompts, cut to the longest of them."""
        longest = int((prompts[:, 2] - prompts[:, 1]).max())
        _, cut = cut_for(self.model, self.config.training, longest)
        whole = self.train_cut
        cut = replace(cut, rotation=whole.rotation, band_jitter=whole.band_jitter)
        return prompt_batch(recordings, prompts, cut, rng, loaded)

    def _framed(self, seconds: float) -> tuple[Framing, Cut]:
        return cut_for(self.model, self.config.training, round(seconds * SAMPLE_RATE))

    def _augmented(self, framing: Framing, cut: Cut) -> Cut:
        """Return how to cut windows for training."""
        model, change = self.config.model, self.config.training.augmentation
        start = self.config.training.aligned_start
        shortest = change.random_crop * cut.window
        return replace(
            cut,
            # Electrodes that do not go all around the wrist cannot be rotated.
            rotation=usable_rotation(model.electrodes, change.rotation) if model.is_around else 0,
            band_jitter=milliseconds(change.band_jitter_ms) if model.bands > 1 else 0,
            # Whole steps of the output, so that a shortened window still begins and ends with a
            # frame.
            crops=min(int((cut.window - shortest) // framing.step), framing.frames - 1),
            step=framing.step,
            stretch=change.time_stretch,
            key_lag_ms=0.0 if start is None else start.key_lag_ms,
        )
