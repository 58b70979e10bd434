"""Converting session files into recordings, and opening the recordings of a 6-hour subject.

The plain way to convert reads each column of the file at once, transposes and saves. The floor of a
conversion is its bytes, read and written twice, at the bandwidth of memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from benchmarks import data
from benchmarks.measure import Figure, Scope
from emgmodels.config import SAMPLE_RATE
from emgmodels.windows import cache_folder, prepare
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

        converting = scope.interleave(
            {"plain": lambda: plain_conversion(paths[0], target), "fast": convert}
        )
        target.unlink()
        length = 60 * minutes
        floor = converting.floor(moved=2 * SAMPLE_RATE * length * BYTES_A_SAMPLE)
        yield Figure(
            f"preparing a session of {minutes:g} minutes, once",
            value=length / converting.median("fast"),
            unit="x real time",
            reference=length / converting.median("plain"),
            ratio=converting.ratio("plain", "fast"),
            wanted="150 x real time",
            floor=length / floor,
            share=floor / converting.median("fast"),
            note="hashing, checks and labels included",
        )
        prepare(paths)
        opening = scope.interleave(
            {"open": lambda: prepare(paths), "floor": lambda: read_small_files(paths)}
        )
        yield Figure(
            f"opening {count} prepared sessions, {count * minutes / 60:g} hours",
            value=opening.median("open"),
            unit="s",
            wanted="1 s",
            floor=opening.median("floor"),
            share=1 / opening.ratio("open", "floor"),
            note="floor: opening the same files and reading all but the EMG",
        )


def plain_conversion(path: Path, target: Path) -> np.ndarray:
    """Return (B, E, S) EMG of a session file, saved as an array of its own."""
    with h5py.File(path, "r") as file:
        rows = file["emg2qwerty/timeseries"][:]
    emg = np.stack([rows["emg_left"].T, rows["emg_right"].T])
    np.save(target, emg)
    return emg


def read_small_files(paths: Sequence[Path]) -> None:
    """Look at session files, and read what their recordings hold beside the EMG."""
    for path in paths:
        path.stat()
    for file in cache_folder().glob("*/*"):
        with file.open("rb") as opened:
            opened.read(128 if file.name == "emg.npy" else -1)


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
