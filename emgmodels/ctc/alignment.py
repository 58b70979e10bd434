"""When each label of a known text was emitted: the best of all its CTC alignments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emgmodels.charset import BLANK

_AT_ONCE = 32
"""Texts that are aligned together: more would need more memory, fewer more time."""


def best_frames(
    log_probs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    """Return the (K,) frame at which each label is read, for each text; None where it cannot be.

    The frames follow the most likely alignment (Viterbi's algorithm on the states of CTC). Of the
    frames that a label has there, its likeliest is taken.

    Args:
        log_probs: (T, 99) log-probabilities of each text.
        labels: (K,) its labels.
    """
    found: list[np.ndarray | None] = []
    for low in range(0, len(labels), _AT_ONCE):
        found += _together(log_probs[low : low + _AT_ONCE], labels[low : low + _AT_ONCE])
    return found


def _together(
    log_probs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    lengths = np.array([len(each) for each in log_probs])
    longest, count = lengths.max(), len(labels)
    states = np.full((count, 2 * max(map(len, labels)) + 1), BLANK)  # a blank around each label
    emitted = np.zeros((count, longest, log_probs[0].shape[1]), dtype=np.float32)
    for row, (text, each) in enumerate(zip(labels, log_probs, strict=True)):
        states[row, 1 : 2 * len(text) : 2] = text
        emitted[row, : len(each)] = each
    # Two equal labels in a row need the blank between them.
    may_skip = np.zeros(states.shape, dtype=bool)
    may_skip[:, 2:] = (states[:, 2:] != BLANK) & (states[:, 2:] != states[:, :-2])
    score = np.full(states.shape, -np.inf, dtype=np.float32)
    score[:, :2] = np.take_along_axis(emitted[:, 0], states[:, :2], 1)
    came = np.zeros((longest, *states.shape), dtype=np.int8)  # how many states back
    for t in range(1, longest):
        ways = np.full((3, *states.shape), -np.inf, dtype=np.float32)
        ways[0], ways[1, :, 1:] = score, score[:, :-1]
        ways[2, :, 2:] = np.where(may_skip[:, 2:], score[:, :-2], -np.inf)
        came[t] = ways.argmax(0)
        following = ways.max(0) + np.take_along_axis(emitted[:, t], states, 1)
        score = np.where((t < lengths)[:, None], following, score)
    return [
        _traced(came[: lengths[row], row], score[row], emitted[row], text)
        for row, text in enumerate(labels)
    ]


def _traced(
    came: np.ndarray, score: np.ndarray, emitted: np.ndarray, labels: np.ndarray
) -> np.ndarray | None:
    """Return the frames of one text, from the (T, S) steps back and the (S,) scores at its end."""
    last = 2 * len(labels)
    state = last if not len(labels) or score[last] >= score[last - 1] else last - 1
    if not np.isfinite(score[state]):
        return None  # more labels than frames
    best = np.full(len(labels), -np.inf)
    frames = np.zeros(len(labels), dtype=np.int64)
    for t in range(len(came) - 1, -1, -1):
        label, is_label = divmod(state, 2)
        if is_label and emitted[t, labels[label]] >= best[label]:
            best[label], frames[label] = emitted[t, labels[label]], t
        state -= int(came[t, state])
    return frames
