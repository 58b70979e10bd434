"""From session files to batches of windows, through memory-mapped recordings.

A session file is converted once per machine into a *recording*: the EMG as a memory-mapped array,
electrode by electrode so that a window is a few contiguous reads, and the ground truth as sorted
arrays. All trials on a machine share its pages. The cache lies in ``$EMGSEARCH_CACHE``, or in
``~/.cache/emgsearch``, and is keyed by content: a changed file is converted again, a renamed or
copied one is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emgmodels.config import BANDS, SAMPLE_RATE
from emgmodels.sessions import Session, Split, read_session

VALIDATION_SECONDS = 4.0
"""Validation windows, whatever the training windows are, so that trials compare (s)."""
FORMAT = 1
"""Version of the cache's layout, part of its key."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One session, ready for training.

    Attributes:
        name: session name.
        emg: (B, 16, S) float32 memory map, S samples at 2 kHz.
        labels: (K,) labels in order of time.
        first: (K,) first sample at or after each label's time.
        last: (K,) last sample at or before it. A window of samples [s, e) has a label if
            ``last >= s`` and ``first < e``.
        has_key_times: whether label times are key presses; prompts only know the sentence's.
    """

    name: str
    emg: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    has_key_times: bool

    @property
    def samples(self) -> int:
        """Samples of each electrode."""
        return int(self.emg.shape[2])

    def label_span(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of labels that the samples [start, end) contain."""
        low = int(np.searchsorted(self.last, start, side="left"))
        high = int(np.searchsorted(self.first, end, side="left"))
        return low, max(low, high)


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of one length, with their labels.

    Attributes:
        emg: (N, B, E, S) samples, context included.
        labels: (N, K) labels, padded with 0.
        label_lengths: (N,) labels of each window.
        label_samples: (N, K) samples from the window's start to the key press; -1 where padded
            or where the session has no key times.
    """

    emg: Tensor
    labels: Tensor
    label_lengths: Tensor
    label_samples: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch with EMG and key times on a device; CTC takes its labels from either."""
        if device.type == "cpu":
            return self
        return Batch(
            self.emg.to(device),
            self.labels.to(device),
            self.label_lengths,
            self.label_samples.to(device),
        )


def cache_folder() -> Path:
    """Return the folder of converted recordings on this machine."""
    default = Path.home() / ".cache" / "emgsearch"
    return Path(os.environ.get("EMGSEARCH_CACHE", default)) / "recordings"


def prepare(
    paths: Sequence[Path], progress: Callable[[Path], None] | None = None
) -> list[Recording]:
    """Return the recordings of session files, converting those that are not in the cache.

    Several processes may prepare the same files at once.

    Args:
        paths: session files.
        progress: called with each path when its recording is ready.

    Raises:
        ValueError: a file is not a session; see ``sessions.read_session``.
    """
    recordings = []
    for path in paths:
        folder = cache_folder() / _content_key(path)
        if not folder.is_dir():
            _convert(read_session(path), folder)
        recordings.append(_open(folder))
        if progress is not None:
            progress(path)
    return recordings


def open_split(
    split: Split, progress: Callable[[Path], None] | None = None
) -> tuple[list[Recording], list[Recording], list[str]]:
    """Return training and validation recordings, and what the user should know of them.

    Sessions shorter than a window are left out. The test sessions are not touched.

    Args:
        split: which sessions.
        progress: called with each path when its recording is ready.

    Raises:
        ValueError: a file is not a session, no session is long enough, or there are no keys.
    """
    warnings: list[str] = []
    subsets = []
    for name, paths in (("training", split.train), ("validation", split.val)):
        recordings = prepare(paths, progress)
        for recording in recordings:
            if recording.samples < VALIDATION_SECONDS * SAMPLE_RATE:
                seconds = recording.samples / SAMPLE_RATE
                warnings.append(
                    f"{name} session {recording.name} is left out: its {seconds:.1f} s are less "
                    f"than a window of {VALIDATION_SECONDS:g} s"
                )
        long_enough = [r for r in recordings if r.samples >= VALIDATION_SECONDS * SAMPLE_RATE]
        check_recordings(long_enough, name, VALIDATION_SECONDS)
        subsets.append(long_enough)
    return subsets[0], subsets[1], warnings


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


def window_starts(
    recordings: Sequence[Recording], window: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Return windows that tile the recordings: (W, 2) recording index and first sample.

    Args:
        recordings: what to tile; one shorter than a window has none.
        window: samples of a window.
        rng: shifts each recording's grid by a random phase and shuffles the windows; None tiles
            from the first sample, in order. Both give the same number of windows.
    """
    tiles = []
    for index, recording in enumerate(recordings):
        count = recording.samples // window
        if count == 0:
            continue
        phase = int(rng.integers(window)) if rng is not None else 0
        starts = np.minimum(phase + window * np.arange(count), recording.samples - window)
        tiles.append(np.stack([np.full(count, index), starts], axis=1))
    windows = np.concatenate(tiles) if tiles else np.empty((0, 2), dtype=np.int64)
    return windows if rng is None else rng.permutation(windows)


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
        crops: training only: a batch's windows are shortened by up to so many steps.
        step: samples of such a step: those between the model's output frames.
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


def batches(
    recordings: Sequence[Recording],
    windows: np.ndarray,
    batch_size: int,
    cut: Cut,
    rng: np.random.Generator | None = None,
) -> Iterator[Batch]:
    """Yield the windows as batches.

    Args:
        recordings: the recordings that the windows index.
        windows: (W, 2) recording index and first sample, from ``window_starts``.
        batch_size: windows a batch; the last may have fewer.
        cut: how to cut.
        rng: draws rotations, jitter and crops; None for validation and test, which have none.
    """
    for low in range(0, len(windows), batch_size):
        chosen = windows[low : low + batch_size]
        count, shortened = len(chosen), cut
        rotation = np.zeros((count, BANDS), dtype=np.int64)
        shift = np.zeros((count, BANDS), dtype=np.int64)
        if rng is not None:
            rotation = rng.integers(-cut.rotation, cut.rotation + 1, (count, BANDS))
            offset = rng.integers(-cut.band_jitter, cut.band_jitter + 1, count)
            shift = np.stack([offset // 2, offset // 2 - offset], axis=1)
            chosen, shortened = _crop(chosen, cut, rng)
        yield _batch(recordings, chosen, shortened, rotation, shift)


def usable_rotation(electrodes: int, rotation: int) -> int:
    """Return by how many of the used electrodes a band may be rotated.

    A rotation is limited in angle, not in electrodes: with fewer of them around the wrist, there
    may be none within reach.
    """
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


def _crop(windows: np.ndarray, cut: Cut, rng: np.random.Generator) -> tuple[np.ndarray, Cut]:
    """Return shorter windows at random places inside those given, and how to cut them."""
    if cut.crops == 0:
        return windows, cut
    removed = cut.step * int(rng.integers(cut.crops + 1))
    offset = rng.integers(removed + 1, size=len(windows))
    shorter = replace(cut, window=cut.window - removed, samples=cut.samples - removed)
    return windows + np.stack([np.zeros_like(offset), offset], axis=1), shorter


def _batch(
    recordings: Sequence[Recording],
    windows: np.ndarray,
    cut: Cut,
    rotation: np.ndarray,
    shift: np.ndarray,
) -> Batch:
    shape = (len(windows), len(cut.bands), len(cut.electrodes), cut.samples)
    emg = np.empty(shape, dtype=np.float32)
    spans = []
    for n, (index, start) in enumerate(windows.tolist()):
        recording = recordings[index]
        for out, band in zip(emg[n], cut.bands, strict=True):
            rows = np.roll(cut.electrodes, rotation[n, band])
            _copy(recording.emg[band], rows, start - cut.before + shift[n, band], out)
        spans.append(recording.label_span(start, start + cut.window))
    longest = max(high - low for low, high in spans)
    labels = np.zeros((len(windows), longest), dtype=np.int64)
    samples = np.full((len(windows), longest), -1, dtype=np.int64)
    for n, ((index, start), (low, high)) in enumerate(zip(windows.tolist(), spans, strict=True)):
        recording = recordings[index]
        labels[n, : high - low] = recording.labels[low:high]
        if recording.has_key_times:
            samples[n, : high - low] = recording.first[low:high] - start
    return Batch(
        torch.from_numpy(emg),
        torch.from_numpy(labels),
        torch.tensor([high - low for low, high in spans]),
        torch.from_numpy(samples),
    )


def _copy(source: np.ndarray, rows: np.ndarray, start: int, out: np.ndarray) -> None:
    """Copy ``source[rows, start : start + S]`` to ``out`` (E, S), mirrored at the ends."""
    total, samples = source.shape[1], out.shape[1]
    low, high = max(start, 0), min(start + samples, total)
    for e, row in enumerate(rows):
        out[e, low - start : high - start] = source[row, low:high]
    if low > start or high < start + samples:
        outside = np.r_[start:low, high : start + samples]
        out[:, outside - start] = source[rows][:, mirrored(outside, total)]


def _content_key(path: Path) -> str:
    """Return the hash of a file's content, remembered for as long as the file stays as it is."""
    try:
        stat = path.stat()
        memo = cache_folder() / "sources" / _digest(str(path.resolve()).encode())
        signature = f"{FORMAT} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
        if memo.is_file():
            known, _, key = memo.read_text(encoding="ascii").partition("\n")
            if known == signature:
                return key
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    key = _digest(f"{FORMAT} {content.hexdigest()}".encode())
    memo.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=memo.parent, delete=False) as scratch:
        scratch.write(f"{signature}\n{key}")
    os.replace(scratch.name, memo)
    return key


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _convert(session: Session, folder: Path) -> None:
    """Write a recording's folder in one step: complete, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    labels = session.labels()
    scratch = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    try:
        emg = session.emg.reshape(len(session.time), -1)  # (S, B x 16)
        out = np.lib.format.open_memmap(
            scratch / "emg.npy", mode="w+", dtype=np.float32, shape=(emg.shape[1], len(emg))
        )
        step = 1 << 14  # rows that stay in the cache of a core while they are transposed
        for low in range(0, len(emg), step):
            out[:, low : low + step] = emg[low : low + step].T
        out.flush()
        np.save(scratch / "labels.npy", labels.label.astype(np.int64))
        np.save(scratch / "first.npy", np.searchsorted(session.time, labels.start, side="left"))
        np.save(scratch / "last.npy", np.searchsorted(session.time, labels.start, "right") - 1)
        meta = {"name": session.name, "has_key_times": labels.has_key_times}
        (scratch / "recording.json").write_text(json.dumps(meta), encoding="utf-8")
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():  # unless another process was first, with the same content
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open(folder: Path) -> Recording:
    meta = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    emg = np.load(folder / "emg.npy", mmap_mode="r")
    return Recording(
        name=meta["name"],
        emg=emg.reshape(BANDS, -1, emg.shape[1]),
        labels=np.load(folder / "labels.npy"),
        first=np.load(folder / "first.npy"),
        last=np.load(folder / "last.npy"),
        has_key_times=meta["has_key_times"],
    )
