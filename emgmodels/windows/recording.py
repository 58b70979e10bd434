"""What a recording is, and which of a split's recordings can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted
from emgmodels.sessions.lag import KeyLag

VALIDATION_SECONDS = 4.0
"""Validation windows, whatever the training windows are, so that trials compare (s)."""
LONGEST_PROMPT = 64.0
"""Longer prompts are in no window (s): a window must fit into memory."""
NEGLIGIBLE_LAG = 15.0
"""Lags this close to those of the other sessions are the estimate's own error (ms)."""
MISPLACED = 0.1
"""Share of a session's keys outside its EMG above which the user is told."""


def no_prompts() -> np.ndarray:
    """Return the prompts of a recording that has none, (0, 4)."""
    return np.empty((0, 4), dtype=np.int64)


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
        prompts: (P, 4) of a session without key times, in order of time: a prompt's first sample,
            the sample after its last, its first label, the label after its last.
        user: who typed.
        are_times_read: key times are those at which a model reads the keys; nobody recorded any.
        key_lag: how far the keys are from the EMG; None: not estimated, and taken as they are.
    """

    name: str
    emg: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    has_key_times: bool
    remarks: tuple[str, ...] = ()
    in_use: IO[str] | None = field(default=None, repr=False)
    prompts: np.ndarray = field(default_factory=no_prompts)
    user: str = ""
    are_times_read: bool = False
    key_lag: KeyLag | None = None

    @property
    def samples(self) -> int:
        """Samples of each electrode."""
        return int(self.emg.shape[2])

    @property
    def usable_prompts(self) -> np.ndarray:
        """The rows of ``prompts`` that are windows: those of ``LONGEST_PROMPT`` at most."""
        lengths = self.prompts[:, 1] - self.prompts[:, 0]
        return self.prompts[lengths <= LONGEST_PROMPT * SAMPLE_RATE]

    def label_span(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of labels that the samples [start, end) contain."""
        # Two arrays, since a key between the last sample of a window and the first of the next
        # must fall into neither.
        low = int(np.searchsorted(self.last, start, side="left"))
        high = int(np.searchsorted(self.first, end, side="left"))
        return low, max(low, high)

    def window_spans(self, window: int) -> list[tuple[int, int, int]]:
        """Return samples and range of labels of each window, training's random phase aside.

        Args:
            window: samples of a window; prompts are windows of their own length.
        """
        if not self.has_key_times:
            return [(end - start, low, high) for start, end, low, high in self.usable_prompts]
        starts = range(0, self.samples - window + 1, window)
        return [(window, *self.label_span(start, start + window)) for start in starts]


def users_in(recordings: Sequence[Recording]) -> str:
    """Return whose recordings they are, for a sentence: up to two by name, more by number."""
    users = list(dict.fromkeys(recording.user for recording in recordings))
    return " and ".join(users) if len(users) < 3 else counted(len(users), "user")


def beginning(recordings: Sequence[Recording], seconds: float) -> list[Recording]:
    """Return the first seconds of recordings, one after the other; the last may be cut short."""
    found, left = [], round(seconds * SAMPLE_RATE)
    for recording in recordings:
        if left <= 0:
            break
        found.append(recording if recording.samples <= left else _cut(recording, left))
        left -= recording.samples
    return found


def _cut(recording: Recording, samples: int) -> Recording:
    """Return the first samples of a recording, with the labels and prompts that are inside."""
    kept = recording.first < samples
    prompts = recording.prompts[recording.prompts[:, 1] <= samples]
    if not recording.has_key_times:
        # A prompt's labels are known by their places, so that none is left out.
        kept = np.ones_like(kept)
    return replace(
        recording,
        emg=recording.emg[:, :, :samples],
        labels=recording.labels[kept],
        first=recording.first[kept],
        last=recording.last[kept],
        prompts=prompts,
    )


def frames_for_keys(recordings: Sequence[Recording], share: float = 0.95) -> int:
    """Return the frames that CTC needs to read most validation windows: one a key, and a blank
    between equal ones.

    What a prompt needs is counted for as long as a validation window of its text.

    Args:
        recordings: whose windows.
        share: of the windows.
    """
    window, needed = round(VALIDATION_SECONDS * SAMPLE_RATE), [0]
    for recording in recordings:
        for samples, low, high in recording.window_spans(window):
            labels = recording.labels[low:high]
            # CTC reads two equal keys in a row as one, unless a blank stands between them.
            frames = len(labels) + int((labels[1:] == labels[:-1]).sum())
            needed.append(-(-frames * window // max(1, samples)))
    return int(np.quantile(needed, share, method="higher"))


def check_recordings(recordings: Sequence[Recording], name: str, seconds: float) -> None:
    """Refuse recordings that hold no window, or no key in any window.

    Args:
        recordings: what to check.
        name: what to call them: training or validation.
        seconds: length of a window (s).

    Raises:
        ValueError: as said.
    """
    keys = sum(len(recording.labels) for recording in recordings)
    # Before their length: without key times a window is a prompt, so that sessions without prompts
    # have none, however long they are.
    if not keys:
        raise ValueError(
            f"the {name} sessions hold no keys that the model knows: check their keystrokes (or "
            f"prompts, where they were not typed on a keyboard)"
        )
    spans = [recording.window_spans(round(seconds * SAMPLE_RATE)) for recording in recordings]
    # Said here, where the reason is known: a training without windows would fail far from it.
    if not any(spans):
        if any(not recording.has_key_times and len(recording.labels) for recording in recordings):
            raise ValueError(
                f"no {name} session has a prompt that is a window: a prompt must lie inside the "
                f"session's EMG, and take {LONGEST_PROMPT:g} s at most"
            )
        raise ValueError(
            f"no {name} session is as long as a window of {seconds:g} s: add longer sessions"
            + (" or lower training.window_seconds" if name == "training" else "")
        )
    if not any(
        len(recording.labels[low:high])
        for recording, windows in zip(recordings, spans, strict=True)
        for _, low, high in windows
    ):
        raise ValueError(
            f"none of the {counted(keys, 'key')} of the {name} sessions lies inside a window: "
            f"check that their times are on the clock of the EMG's"
        )


def check_times(recording: Recording, path: Path) -> list[str]:
    """Return what the user should know of keys and prompts that are not inside a session's EMG.

    Args:
        recording: the session.
        path: its file, to be named.

    Raises:
        ValueError: it has keys or prompts, and none is inside.
    """
    what, total = "keys", len(recording.labels)
    low, high = recording.label_span(0, recording.samples)
    inside = high - low
    if not recording.has_key_times:
        what = "characters of prompts"
        begun, inside = inside, int((recording.prompts[:, 3] - recording.prompts[:, 2]).sum())
    else:
        begun = inside
    if total and not (begun or inside):
        sides = []
        if (recording.last < 0).any():
            sides.append("before its first sample")
        if (recording.first >= recording.samples).any():
            sides.append("after its last")
        raise ValueError(
            f"{path}: none of its {total} {what} lies inside its EMG, but {' and '.join(sides)}: "
            f"keystrokes, prompts and the EMG's time must be on one clock (unix seconds)"
        )
    if total - inside > MISPLACED * total:
        return [
            f"{path}: {total - inside} of its {total} {what} are outside its EMG and are not "
            f"learnt from: check that their times are on the clock of the EMG's"
        ]
    return []


def remarks_of(name: str, recordings: Sequence[Recording]) -> list[str]:
    """Return what the user should know of recordings, each remark once with those it is about."""
    about: dict[str, list[str]] = {}
    for recording in recordings:
        for remark in recording.remarks:
            about.setdefault(remark, []).append(recording.name)
    return [
        f"{name} session {names[0]}: {remark}"
        if len(names) == 1
        else f"{counted(len(names), f'{name} session')} ({names[0]} to {names[-1]}): {remark}"
        for remark, names in about.items()
    ]


def key_corrections(
    recordings: Sequence[Recording], key_lag_ms: float | Literal["auto"]
) -> list[int | None]:
    """Return what to add to each recording's ``first`` for an aligned start's targets.

    What a lag is corrected to is the recordings' median. A lag that they share is no harm: a
    model learns it, and it is in the labels of windows too, which nothing corrects.

    Args:
        recordings: those that are trained on together.
        key_lag_ms: as an aligned start says: by each lag, or by that many milliseconds.

    Returns:
        Samples; None where there are no key times, or none that can be relied on.
    """
    if key_lag_ms != "auto":
        fixed = _samples(key_lag_ms)
        # Times that the model read follow the EMG, and what it was aligned to, already.
        moved = [0 if recording.are_times_read else fixed for recording in recordings]
        return [
            samples if recording.has_key_times else None
            for samples, recording in zip(moved, recordings, strict=True)
        ]
    lags = [recording.key_lag for recording in recordings]
    sure = [lag.ms for lag in lags if lag is not None and lag.is_sure]
    usual = float(np.median(sure)) if sure else 0.0
    found: list[int | None] = []
    for recording, lag in zip(recordings, lags, strict=True):
        if not recording.has_key_times or (lag is not None and not lag.is_sure):
            found.append(None)
        elif lag is None or abs(lag.ms - usual) <= NEGLIGIBLE_LAG:
            found.append(0)
        else:
            found.append(_samples(lag.ms - usual))
    return found


def lag_notes(recordings: Sequence[Recording]) -> list[str]:
    """Return what aligned starts make of training recordings' key times: corrected, or not used."""
    notes = [
        f"training session {recording.name}: {recording.key_lag.remark}: it has no aligned start, "
        f"and is learnt by CTC alone (training.aligned_start.key_lag_ms: 0 would take its key "
        f"times as they are)"
        for recording in recordings
        if recording.key_lag is not None and not recording.key_lag.is_sure
    ]
    moved = [samples for samples in key_corrections(recordings, "auto") if samples]
    if moved:
        low, high = (1000 * each / SAMPLE_RATE for each in (min(moved), max(moved)))
        notes.append(
            f"keys are not apart from the EMG by the same time in all training sessions: the "
            f"aligned start moves those of {len(moved)} of {len(recordings)} by {low:+.0f} to "
            f"{high:+.0f} ms; python -m emgmodels.sessions inspect shows each"
        )
    return notes


def left_out(recording: Recording) -> str | None:
    """Return why a session has no window, or None."""
    if not recording.has_key_times:
        if len(recording.usable_prompts):
            return None
        return "it has no key times, and no prompt that is inside it and short enough"
    if recording.samples >= VALIDATION_SECONDS * SAMPLE_RATE:
        return None
    return (
        f"its {recording.samples / SAMPLE_RATE:.1f} s are less than a window of "
        f"{VALIDATION_SECONDS:g} s"
    )


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE / 1000)
