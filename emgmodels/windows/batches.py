"""Windows cut out of recordings into batches, by copying from the memory map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from emgmodels.config import BANDS
from emgmodels.windows.cut import Batch, Cut, mirrored
from emgmodels.windows.device import DeviceRecordings
from emgmodels.windows.recording import Recording, key_corrections


def window_starts(
    recordings: Sequence[Recording], window: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Return windows that tile the recordings: (W, 2) recording index and first sample.

    Args:
        recordings: what to tile; one shorter than a window has none, nor has one without key
            times, of which nobody knows what was typed in a window.
        window: samples of a window.
        rng: shifts each recording's grid by a random phase and shuffles the windows; None tiles
            from the first sample, in order. Both give the same number of windows.
    """
    tiles = []
    for index, recording in enumerate(recordings):
        count = recording.samples // window
        if count == 0 or not recording.has_key_times:
            continue
        # Each epoch cuts keys at other places, so that none is always at a window's edge.
        phase = int(rng.integers(window)) if rng is not None else 0
        # The last window is moved back to end with the recording, so that each phase gives the
        # same number of windows.
        starts = np.minimum(phase + window * np.arange(count), recording.samples - window)
        tiles.append(np.stack([np.full(count, index), starts], axis=1))
    windows = np.concatenate(tiles) if tiles else np.empty((0, 2), dtype=np.int64)
    return windows if rng is None else rng.permutation(windows)


def batches(
    recordings: Sequence[Recording],
    windows: np.ndarray,
    batch_size: int,
    cut: Cut,
    rng: np.random.Generator | None = None,
    device: DeviceRecordings | None = None,
) -> Iterator[Batch]:
    """Yield the windows as batches.

    Args:
        recordings: the recordings that the windows index.
        windows: (W, 2) recording index and first sample, from ``window_starts``.
        batch_size: windows a batch; the last may have fewer.
        cut: how to cut.
        rng: draws rotations, jitter and crops; None for validation and test, which have none.
        device: the recordings on a device, to gather the EMG there; None copies it from the files.
    """
    corrections = key_corrections(recordings, cut.key_lag_ms)
    for low in range(0, len(windows), batch_size):
        emg, chosen, shortened = _cut(recordings, windows[low : low + batch_size], cut, rng, device)
        yield _batch(emg, recordings, chosen, shortened, corrections)


def prompt_batch(
    recordings: Sequence[Recording],
    prompts: np.ndarray,
    cut: Cut,
    rng: np.random.Generator | None = None,
    device: DeviceRecordings | None = None,
) -> Batch:
    """Return whole prompts as one batch.

    Args:
        recordings: the recordings that the prompts index.
        prompts: (N, 5), from ``prompt_windows``.
        cut: how to cut, for a window as long as the longest of them, without crops.
        rng: as of ``batches``.
        device: as of ``batches``.
    """
    emg, _, _ = _cut(recordings, prompts[:, :2], cut, rng, device)
    spans = prompts[:, 3:].tolist()
    labels = torch.from_numpy(_padded_labels(recordings, prompts[:, 0].tolist(), spans))
    lengths = torch.from_numpy(prompts[:, 2] - prompts[:, 1])
    return Batch(emg, labels, _lengths(spans), torch.full_like(labels, -1), lengths)


def _crop(windows: np.ndarray, cut: Cut, rng: np.random.Generator) -> tuple[np.ndarray, Cut]:
    """Return shorter windows at random places inside those given, and how to cut them."""
    if cut.crops == 0:
        return windows, cut
    # One length for the whole batch: no layer knows of padding, and nothing in a model masks.
    removed = cut.step * int(rng.integers(cut.crops + 1))
    offset = rng.integers(removed + 1, size=len(windows))
    shorter = replace(cut, window=cut.window - removed, samples=cut.samples - removed)
    return windows + np.stack([np.zeros_like(offset), offset], axis=1), shorter


def _cut(
    recordings: Sequence[Recording],
    windows: np.ndarray,
    cut: Cut,
    rng: np.random.Generator | None,
    device: DeviceRecordings | None,
) -> tuple[Tensor, np.ndarray, Cut]:
    """Return the EMG of windows, and the windows and how they were cut, which cropping changes."""
    count = len(windows)
    rotation = np.zeros((count, BANDS), dtype=np.int64)
    shift = np.zeros((count, BANDS), dtype=np.int64)
    if rng is not None:
        # Each band by itself, since two wristbands are put on one after the other.
        rotation = rng.integers(-cut.rotation, cut.rotation + 1, (count, BANDS))
        offset = rng.integers(-cut.band_jitter, cut.band_jitter + 1, count)
        # Both bands move by half of it, in opposite directions, so that labels stay in the
        # middle.
        shift = np.stack([offset // 2, offset // 2 - offset], axis=1)
        windows, cut = _crop(windows, cut, rng)
    wanted = cut.samples
    if rng is not None and cut.stretch:
        windows, cut = _stretched(recordings, windows, cut, rng)
    if device is None:
        # All random numbers were drawn above, on the CPU, so both ways give the same windows.
        emg = _copied(recordings, windows, cut, rotation, shift)
    else:
        emg = device.cut(windows, cut, rotation, shift)
    if emg.shape[-1] != wanted:
        played = interpolate(emg.flatten(1, 2), wanted, mode="linear", align_corners=True)
        emg = played.unflatten(1, emg.shape[1:3])
    return emg, windows, cut


def _stretched(
    recordings: Sequence[Recording], windows: np.ndarray, cut: Cut, rng: np.random.Generator
) -> tuple[np.ndarray, Cut]:
    """Return longer or shorter windows around those given, and how to cut them."""
    # One rate for the whole batch, because windows of a batch are of one length.
    rate = float(rng.uniform(1 - cut.stretch, 1 + cut.stretch))
    sizes = {name: round(getattr(cut, name) * rate) for name in ("window", "before", "samples")}
    longer = replace(cut, rate=rate, **sizes)
    index, start = windows.T
    last = np.array([recording.samples for recording in recordings])[index] - longer.window
    start = np.clip(start - (longer.window - cut.window) // 2, 0, np.maximum(last, 0))
    return np.stack([index, start], axis=1), longer


def _copied(
    recordings: Sequence[Recording],
    windows: np.ndarray,
    cut: Cut,
    rotation: np.ndarray,
    shift: np.ndarray,
) -> Tensor:
    shape = (len(windows), len(cut.bands), len(cut.electrodes), cut.samples)
    # Filled row by row: each electrode is one contiguous read of the memory map.
    emg = np.empty(shape, dtype=np.float32)
    for n, (index, start) in enumerate(windows.tolist()):
        source = np.asarray(recordings[index].emg)  # slices of a memmap take six times as long
        for out, band in zip(emg[n], cut.bands, strict=True):
            rows = np.roll(cut.electrodes, rotation[n, band])
            _copy(source[band], rows, start - cut.before + shift[n, band], out)
    return torch.from_numpy(emg)


def _batch(
    emg: Tensor,
    recordings: Sequence[Recording],
    windows: np.ndarray,
    cut: Cut,
    corrections: Sequence[int | None],
) -> Batch:
    spans = [
        recordings[index].label_span(start, start + cut.window) for index, start in windows.tolist()
    ]
    labels = _padded_labels(recordings, windows[:, 0].tolist(), spans)
    # -1 where there is no time, so that no loss takes such a label for one at the window's start.
    samples = np.full(labels.shape, -1, dtype=np.int64)
    for n, ((index, start), (low, high)) in enumerate(zip(windows.tolist(), spans, strict=True)):
        if (correction := corrections[index]) is not None:
            since = recordings[index].first[low:high] + correction - start
            # In samples of the window as it is played; those of one that is not stay as they are.
            played = since if cut.rate == 1 else np.floor(since / cut.rate)
            samples[n, : high - low] = np.maximum(played, -1)
    return Batch(emg, torch.from_numpy(labels), _lengths(spans), torch.from_numpy(samples))


def _padded_labels(
    recordings: Sequence[Recording], indices: Sequence[int], spans: Sequence[Sequence[int]]
) -> np.ndarray:
    """Return (N, K) labels, padded with 0."""
    longest = max(high - low for low, high in spans)
    labels = np.zeros((len(spans), longest), dtype=np.int64)
    for row, index, (low, high) in zip(labels, indices, spans, strict=True):
        row[: high - low] = recordings[index].labels[low:high]
    return labels


def _lengths(spans: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([high - low for low, high in spans])


def _copy(source: np.ndarray, rows: np.ndarray, start: int, out: np.ndarray) -> None:
    """Copy ``source[rows, start : start + S]`` to ``out`` (E, S), mirrored at the ends."""
    total, samples = source.shape[1], out.shape[1]
    low, high = max(start, 0), min(start + samples, total)
    for e, row in enumerate(rows):
        out[e, low - start : high - start] = source[row, low:high]
    if low > start or high < start + samples:
        # Mirrored, so that a model never meets an edge that no training window had.
        outside = np.r_[start:low, high : start + samples]
        out[:, outside - start] = source[rows][:, mirrored(outside, total)]
