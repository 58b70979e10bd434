"""Whose windows they are: for error rates of each user, and for epochs that draw users equally."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.windows.batches import window_starts
from emgmodels.windows.prompts import prompt_windows
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording


def users_of_windows(recordings: Sequence[Recording]) -> list[str]:
    """Return the user of each validation window, in order; prompts follow the windows."""
    windows = window_starts(recordings, round(VALIDATION_SECONDS * SAMPLE_RATE))
    places = [*windows[:, 0].tolist(), *prompt_windows(recordings)[:, 0].tolist()]
    return [recordings[place].user for place in places]


def check_users(recordings: Sequence[Recording]) -> None:
    """Refuse validation recordings of several users of whom one has no key in any window.

    Raises:
        ValueError: as said.
    """
    window = round(VALIDATION_SECONDS * SAMPLE_RATE)
    keys = dict.fromkeys((recording.user for recording in recordings), 0)
    for recording in recordings:
        for _, low, high in recording.window_spans(window):
            keys[recording.user] += high - low
    if silent := [user for user, count in keys.items() if not count]:
        raise ValueError(
            f"no key of validation user {', '.join(silent)} lies inside a window, so there is no "
            f"CER of this user: hold out somebody else, or check that the times of the keys are "
            f"on the clock of the EMG's"
        )


def balanced(rows: np.ndarray, groups: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Return as many windows as there are, equally many of each group, in random order.

    A group with too few repeats its own, each as often as any other; one with too many leaves some
    out, others in each epoch.

    Args:
        rows: (N, C) windows or prompts; the first column is the recording.
        groups: of each recording, the group that it belongs to.
        rng: draws which.
    """
    names = list(dict.fromkeys(groups[place] for place in rows[:, 0].tolist()))
    if len(names) < 2:
        return rows
    group = np.array([names.index(groups[place]) for place in rows[:, 0].tolist()])
    share = np.full(len(names), len(rows) // len(names))
    share[rng.permutation(len(names))[: len(rows) % len(names)]] += 1
    chosen = []
    for index, count in enumerate(share.tolist()):
        own = np.flatnonzero(group == index)
        times = -(-count // len(own))
        drawn = np.concatenate([rng.permutation(own) for _ in range(times)]) if times else own[:0]
        chosen.append(drawn[:count])
    return rows[rng.permutation(np.concatenate(chosen))]
