"""What a recording is, and which of a split's recordings can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from emgmodels.config import SAMPLE_RATE

VALIDATION_SECONDS = 4.0
"""Validation windows, whatever the training windows are, so that trials compare (s)."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One session, ready for training.

    Attributes:
        name: session name.
        emg: (B, 16, S) float32 memory map, S samples at 2 kHz; in microvolts where the session
            file had volts or millivolts.
        labels: (K,) labels in order of time.
        first: (K,) first sample at or after each label's time.
        last: (K,) last sample at or before it. A window of samples [s, e) has a label if
            ``last >= s`` and ``first < e``.
        has_key_times: whether label times are key presses; prompts only know the sentence's.
        remarks: what the user should know of the session.
        in_use: open file whose lock keeps the recording in the cache for as long as this lives.
    """

    name: str
    emg: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    has_key_times: bool
    remarks: tuple[str, ...] = ()
    in_use: IO[str] | None = field(default=None, repr=False)

    @property
    def samples(self) -> int:
        """Samples of each electrode."""
        return int(self.emg.shape[2])

    def label_span(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of labels that the samples [start, end) contain."""
        low = int(np.searchsorted(self.last, start, side="left"))
        high = int(np.searchsorted(self.first, end, side="left"))
        return low, max(low, high)


def frames_for_keys(recordings: Sequence[Recording], share: float = 0.95) -> int:
    """Return the frames that CTC needs to read most validation windows: one a key, and a blank
    between equal ones.

    Args:
        recordings: whose windows.
        share: of the windows.
    """
    window, needed = round(VALIDATION_SECONDS * SAMPLE_RATE), [0]
    for recording in recordings:
        for start in range(0, recording.samples - window + 1, window):
            low, high = recording.label_span(start, start + window)
            labels = recording.labels[low:high]
            needed.append(len(labels) + int((labels[1:] == labels[:-1]).sum()))
    return int(np.quantile(needed, share, method="higher"))


def check_recordings(recordings: Sequence[Recording], name: str, seconds: float) -> None:
    """Refuse recordings that hold no window or no key.

    Args:
        recordings: what to check.
        name: what to call them: training or validation.
        seconds: length of a window (s).

    Raises:
        ValueError: as said.
    """
    if not any(r.samples >= seconds * SAMPLE_RATE for r in recordings):
        raise ValueError(
            f"no {name} session is as long as a window of {seconds:g} s: add longer sessions"
            + (" or lower training.window_seconds" if name == "training" else "")
        )
    if not any(len(r.labels) for r in recordings):
        raise ValueError(
            f"the {name} sessions hold no keys that the model knows: check their keystrokes (or "
            f"prompts, where they were not typed on a keyboard)"
        )
