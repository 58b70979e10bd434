"""Converting session files into recordings, and opening the recordings of a 6-hour subject.

The plain way to convert reads each column of the file at once, transposes and saves. The floor of a
conversion is its bytes, read and written twice, at the bandwidth of memory.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from benchmarks import data
from benchmarks.measure import Figure, Scope, copy, copy_bytes, ratio
from emgmodels.windows import prepare
from emgmodels.windows.cache import clear

BYTES_A_SAMPLE = 136 + 128
"""Of a session file, read, and of its recording, written."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a conversion in times of real time, and opening in seconds."""
    minutes, count = (0.2, 2) if scope.short else (20.0, 18)
    paths = data.sessions(count, minutes)
    with tempfile.TemporaryDirectory() as folder, _cache_in(Path(folder)):
        target = Path(folder) / "plain.npy"
        (recording,) = prepare(paths[:1])
        assert np.array_equal(recording.emg, plain_conversion(paths[0], target))
        del recording

        def convert() -> None:
            clear()
            prepare(paths[:1])

        seconds = scope.interleave(
            {
                "plain": lambda: plain_conversion(paths[0], target),
                "fast": convert,
                "copy": copy(),
            }
        )
        target.unlink()
        median = {name: statistics.median(values) for name, values in seconds.items()}
        length = 60 * minutes
        floor = 2 * 2000 * length * BYTES_A_SAMPLE * median["copy"] / copy_bytes()
        yield Figure(
            f"preparing a session of {minutes:g} minutes, once",
            value=length / median["fast"],
            unit="x real time",
            reference=length / median["plain"],
            ratio=ratio(seconds["plain"], seconds["fast"]),
            wanted="150 x real time",
            floor=length / floor,
            share=floor / median["fast"],
            note="hashing, checks and labels included",
        )
        prepare(paths)
        opening = scope.interleave({"open": lambda: prepare(paths)})["open"]
        yield Figure(
            f"opening {count} prepared sessions, {count * minutes / 60:g} hours",
            value=statistics.median(opening),
            unit="s",
            wanted="1 s",
        )


def plain_conversion(path: Path, target: Path) -> np.ndarray:
    """Return (B, E, S) EMG of a session file, saved as an array of its own."""
    with h5py.File(path, "r") as file:
        rows = file["emg2qwerty/timeseries"][:]
    emg = np.stack([rows["emg_left"].T, rows["emg_right"].T])
    np.save(target, emg)
    return emg


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("EMGSEARCH_CACHE")
    os.environ["EMGSEARCH_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["EMGSEARCH_CACHE"]
        else:
            os.environ["EMGSEARCH_CACHE"] = before
