"""Sessions without key times, prompt by prompt.

A prompt's window runs from its start to its end. Which of its characters fall into a part of it,
nobody knows.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emgmodels.charset import encode
from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted
from emgmodels.sessions import Labels
from emgmodels.windows.recording import LONGEST_PROMPT, Recording, no_prompts

_CUT_OFF = 0.5
"""What a prompt may lack at an end of the recording (s): reading it comes before typing it."""
(_SHIFT,) = encode("⇧")
_SHIFTED = encode(string.ascii_uppercase + '~!@#$%^&*()_+{}|:"<>?')
"""Labels for which shift is held, on a US keyboard as the data set's are."""
_SHUFFLE = 0.1
"""By which part a prompt's length is changed, either way, before prompts are grouped by length."""


def prompt_table(labels: Labels, time: np.ndarray) -> np.ndarray:
    """Return the prompts inside a recording; as ``Recording.prompts``.

    Prompts that begin together are one. A prompt ends where the next begins, at the latest, and
    there too if its own end is missing.

    Args:
        labels: of the session, each with its prompt's start and end.
        time: (T,) when the samples were taken (unix seconds).
    """
    if labels.has_key_times or not len(labels.label):
        return no_prompts()
    # Prompts that begin together cannot be told apart in time, so their characters are one text.
    low = np.flatnonzero(np.diff(labels.start, prepend=-np.inf) > 0)
    high = np.append(low[1:], len(labels.label))
    start, end = labels.start[low], np.maximum.reduceat(labels.end, low)
    following = np.append(start[1:], max(time[-1], start[-1]))
    end = np.where(end > start, end, following)
    end[:-1] = np.minimum(end[:-1], following[:-1])
    table = np.stack(
        [np.searchsorted(time, start, "left"), np.searchsorted(time, end, "right"), low, high],
        axis=1,
    )
    # A recording is often started by hand just after the first prompt was shown.
    is_inside = (start >= time[0] - _CUT_OFF) & (end <= time[-1] + _CUT_OFF)
    return table[is_inside & (table[:, 1] > table[:, 0])]


@functools.lru_cache(maxsize=2)  # one object a set, since what a GPU holds is known by it
def with_shifts(recordings: tuple[Recording, ...]) -> tuple[Recording, ...]:
    """Return recordings to train on, whose prompts have the shifts that keyboards recorded.

    A keyboard records shift as a key before ``T``, and a prompt's text has ``T`` alone. A model
    that learns from both would learn to leave shifts out. Where no keyboard recorded any, prompts
    are as they are.
    """
    keyed = (recording.labels for recording in recordings if recording.has_key_times)
    if not any((labels == _SHIFT).any() for labels in keyed):
        return recordings
    return tuple(
        recording if recording.has_key_times else _with_shifts(recording)
        for recording in recordings
    )


def _with_shifts(recording: Recording) -> Recording:
    is_shifted = np.isin(recording.labels, _SHIFTED)
    places = np.concatenate([[0], np.cumsum(1 + is_shifted)])
    prompts = recording.prompts.copy()
    prompts[:, 2:] = places[prompts[:, 2:]]
    times = 1 + is_shifted
    labels = np.repeat(recording.labels, times)
    labels[places[:-1][is_shifted]] = _SHIFT
    first, last = (np.repeat(each, times) for each in (recording.first, recording.last))
    return replace(recording, labels=labels, first=first, last=last, prompts=prompts)


def prompt_windows(recordings: Sequence[Recording]) -> np.ndarray:
    """Return the prompts of recordings, in order: (P, 5) recording index, and a row of a table."""
    found = [
        np.insert(recording.usable_prompts, 0, index, axis=1)
        for index, recording in enumerate(recordings)
    ]
    return np.concatenate(found) if found else np.empty((0, 5), dtype=np.int64)


def prompt_groups(
    prompts: np.ndarray, samples: int, rng: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Return prompts in groups of similar length, each of which is a batch.

    Args:
        prompts: (P, 5), from ``prompt_windows``.
        samples: that a group has at most, each of its prompts taken as long as the longest of
            them; a longer prompt is a group by itself.
        rng: shuffles groups, and prompts of similar length between them; None: always the same.
    """
    lengths = prompts[:, 2] - prompts[:, 1]
    spread = (
        np.zeros(len(prompts)) if rng is None else rng.uniform(-_SHUFFLE, _SHUFFLE, len(prompts))
    )
    groups: list[list[int]] = []
    longest = 0
    # Similar lengths together, since each is cut to the longest of its group. The small change of
    # lengths makes other neighbours in each epoch.
    for place in np.argsort(lengths * (1 + spread), kind="stable").tolist():
        longest = max(longest, int(lengths[place]))
        if not groups or longest * (len(groups[-1]) + 1) > samples:
            groups.append([])
            longest = int(lengths[place])
        groups[-1].append(place)
    order = np.arange(len(groups)) if rng is None else rng.permutation(len(groups))
    return [prompts[groups[which]] for which in order]


def prompt_notes(recordings: Sequence[Recording], name: str) -> list[str]:
    """Return what the user should know of the sessions of a subset that count prompt by prompt.

    Args:
        recordings: of the subset.
        name: what to call them: training or validation.
    """
    prompted = [recording for recording in recordings if not recording.has_key_times]
    if not prompted:
        return []
    usable = sum(len(recording.usable_prompts) for recording in prompted)
    long = sum(len(recording.prompts) for recording in prompted) - usable
    names = ", ".join(recording.name for recording in prompted[:3])
    names += f" and {len(prompted) - 3} more" if len(prompted) > 3 else ""
    notes = [
        f"{len(prompted)} of {counted(len(recordings), f'{name} session')} have no key times and "
        f"count by whole prompts, {usable} in all: {names}"
    ]
    if long:
        takes = [f"prompt of {name} sessions takes", f"prompts of {name} sessions take"]
        notes.append(
            f"{counted(long, *takes)} "
            f"more than {LONGEST_PROMPT:g} s, and left out: show shorter ones, a sentence at a time"
        )
    return notes


def longest_prompt(recordings: Sequence[Recording], share: float = 1.0) -> float:
    """Return what a share of the prompts take at most (s); 0 where there are none."""
    prompts = prompt_windows(recordings)
    lengths = prompts[:, 2] - prompts[:, 1]
    return (
        float(np.quantile(lengths, share, method="higher")) / SAMPLE_RATE if len(prompts) else 0.0
    )
