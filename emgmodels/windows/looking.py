"""Recordings without their EMG, for who asks how long they are and trains on none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from emgmodels.config import BAND_ELECTRODES, BANDS
from emgmodels.sessions import read_session
from emgmodels.sessions.lag import key_lag
from emgmodels.windows.cache import find
from emgmodels.windows.prompts import prompt_table
from emgmodels.windows.recording import Recording


def look(paths: Sequence[Path], progress: Callable[[Path], None] | None = None) -> list[Recording]:
    """Return the recordings of session files as ``prepare`` does, and write nothing.

    What the cache has is opened there. Any other file is read and checked in the same way, and its
    recording has labels and length, but zeros for EMG.

    Args:
        paths: session files.
        progress: called with each path when its recording is ready.

    Raises:
        ValueError: a file is not a session; see ``sessions.read_session``.
    """
    found = []
    for path in paths:
        found.append(find(path) or _sketch(path))
        if progress is not None:
            progress(path)
    return found


def no_emg(samples: int) -> np.ndarray:
    """Return zeros in the shape of a recording's EMG that take no memory: (B, 16, samples)."""
    return np.broadcast_to(np.float32(0), (BANDS, BAND_ELECTRODES, samples))


def _sketch(path: Path) -> Recording:
    session = read_session(path)
    labels = session.labels()
    return Recording(
        name=session.name,
        emg=no_emg(len(session.time)),
        labels=labels.label.astype(np.int64),
        first=np.searchsorted(session.time, labels.start, "left"),
        last=np.searchsorted(session.time, labels.start, "right") - 1,
        has_key_times=labels.has_key_times,
        remarks=session.remarks(),
        prompts=prompt_table(labels, session.time),
        user=session.user,
        key_lag=key_lag(session),
    )
