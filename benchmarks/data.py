"""Session files to measure on: noise with keystrokes, made once and kept beside the recordings.

What is in them makes no difference to any time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.sessions import Keystroke, Session, write_session
from emgmodels.windows.home import make_home

KEYS_A_SECOND = 4
VERSION = 1
"""Counts up when other files are written for the same arguments."""


def sessions(count: int, minutes: float) -> list[Path]:
    """Return that many session files."""
    folder = make_home() / "benchmarks" / f"v{VERSION}-{minutes:g}min"
    paths = [folder / f"{index}.hdf5" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.is_file():
            write_session(path, noise_session(index, minutes))
    return paths


def noise_session(index: int, minutes: float) -> Session:
    """Return a session of noise, and of random letters at an even pace."""
    rng = np.random.default_rng(index)
    samples = round(minutes * 60 * SAMPLE_RATE)
    begin = 1.7e9 + 86_400.0 * index
    starts = begin + np.arange(1, round(60 * minutes * KEYS_A_SECOND) - 1) / KEYS_A_SECOND
    letters = rng.integers(26, size=len(starts))
    return Session(
        name=f"noise-{index}",
        user="noise",
        condition="on_keyboard",
        duration_mins=minutes,
        time=begin + np.arange(samples) / SAMPLE_RATE,
        emg=30 * rng.standard_normal((samples, 2, 16), dtype=np.float32),
        keystrokes=tuple(
            Keystroke(chr(ord("a") + letter), start, start + 0.1)
            for letter, start in zip(letters.tolist(), starts.tolist(), strict=True)
        ),
        prompts=(),
    )
