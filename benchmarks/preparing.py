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
from emgmodels.saying import counted
from emgmodels.windows.cache import clear, prepare
from emgmodels.windows.home import cache_folder

BYTES_A_SAMPLE = 136 + 128
"""Of a session file, read, and of its recording, written."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a conversion in times of real time, and opening in seconds."""
    one, count, each = (0.2, 2, 0.2) if scope.short else (4.0, 18, 20.0)
    (session,), subject = data.sessions(1, one), data.sessions(count, each)
    with tempfile.TemporaryDirectory() as folder, _cache_in(Path(folder)):
        yield _converting(scope, session, one)
        yield _opening(scope, subject, count * each / 60)


def _converting(scope: Scope, path: Path, minutes: float) -> Figure:
    (recording,) = prepare([path])
    target = cache_folder().parent / "plain.npy"
    assert np.array_equal(recording.emg, plain_conversion(path, target))
    del recording

    def convert() -> None:
        clear()
        prepare([path])

    timings = scope.interleave({"plain": lambda: plain_conversion(path, target), "fast": convert})
    target.unlink()
    length = 60 * minutes
    floor = timings.floor(moved=2 * SAMPLE_RATE * length * BYTES_A_SAMPLE)
    return Figure(
        f"preparing a session of {counted(minutes, 'minute')}, once",
        value=length / timings.median("fast"),
        unit="x real time",
        reference=length / timings.median("plain"),
        ratio=timings.ratio("plain", "fast"),
        wanted="150 x real time",
        floor=length / floor,
        share=floor / timings.median("fast"),
        note="hashing, checks and labels included",
    )


def _opening(scope: Scope, paths: Sequence[Path], hours: float) -> Figure:
    clear()
    prepare(paths)
    timings = scope.interleave(
        {"open": lambda: prepare(paths), "floor": lambda: read_small_files(paths)}
    )
    return Figure(
        f"opening {counted(len(paths), 'prepared session')}, {counted(hours, 'hour')}",
        value=timings.median("open"),
        unit="s",
        wanted="1 s",
        floor=timings.median("floor"),
        share=1 / timings.ratio("open", "floor"),
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
