"""How long a search will take on this machine, before it begins.

A few architectures of the space train for a moment on random numbers, shaped as the sessions'
windows are. What they took is carried over to the others by their multiply-accumulates.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE, Config
from emgmodels.network.summary import describe
from emgmodels.training.fit import fit
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording
from search.report.display.words import duration
from search.space import Space
from search.space.draws import drawn

_DRAWN = 24
"""Architectures that are drawn; the middle of their epochs is called typical."""
_PROCESSOR, _CLOCK = 2.0, 5.0
"""Seconds, of each thread and by the clock, after which no other architecture is begun."""
_LONG = 2.0
"""Seconds of an epoch in which what is done once, at the start, hardly shows."""
_STEP = 0.25
"""Seconds that a measured epoch should take; a clock says little of less."""
_FORWARD = 1 / 3
"""What a window costs in validation, of what it costs in training: no gradients."""
_KEYS_A_SECOND = 4
_USED = 0.6
"""Part of a demo's budget that its trials should take by the estimate."""
_FEWEST = 4
"""Trials of a demo, however slow the machine is."""
_LEAST = 30.0
"""Searches that take less, by a rough guess, are not measured (s)."""
_ROUGH_MACS, _ROUGH_WINDOW = 10e9, 5e-3
"""That guess: multiply-accumulates a second, forward alone, and seconds a window beside them."""


@dataclass(frozen=True)
class Estimate:
    """What trials of a space take, with all of their threads busy and nobody else's.

    Attributes:
        epoch: of a typical architecture (s).
        low: of one that is faster than nine in ten (s).
        high: of one that is slower than nine in ten (s).
        search: all trials, with those that the scheduler ends early (s).
        slots: trials that train at once.
        is_measured: whether an architecture was trained for it; else it is a rough guess.
    """

    epoch: float
    low: float
    high: float
    search: float
    slots: int
    is_measured: bool = True


@dataclass(frozen=True)
class _Work:
    """Windows of an epoch of one architecture, and what each takes of operations."""

    config: Config
    windows: float
    macs: float


def estimate(
    space: Space,
    train: Sequence[Recording],
    val: Sequence[Recording],
    *,
    trials: int,
    epochs: float,
    threads: int,
    slots: int,
) -> Estimate | None:
    """Return how long trials and search take on this machine's processors.

    It takes about three seconds, more only where a single window takes a second.

    Args:
        space: what is searched.
        train: training recordings.
        val: validation recordings.
        trials: how many will be trained.
        epochs: that a trial trains on average; see ``expected_epochs``.
        threads: of each trial.
        slots: trials that train at once.

    Returns:
        A rough guess where the search takes half a minute; None where nothing can be measured.
    """
    works = list(_drawn(space, train, val))
    if not works:
        return None
    rough = sum(w.windows * (3 * w.macs / _ROUGH_MACS + _ROUGH_WINDOW) for w in works) / len(works)
    slots = min(slots, trials)
    if (whole := trials * epochs * rough / slots) < _LEAST:
        return Estimate(rough, rough, rough, whole, slots, is_measured=False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        measured = _measured(works)
    finally:
        torch.set_num_threads(before)
    if not measured:
        return None
    window = _carried_over(measured)
    seconds = np.array([work.windows * window(work.macs) for work in works])
    low, middle, high = np.quantile(seconds, (0.1, 0.5, 0.9))
    return Estimate(
        epoch=float(middle),
        low=float(low),
        high=float(high),
        search=trials * epochs * float(seconds.mean()) / slots,
        slots=slots,
    )


def that_fit(found: Estimate, trials: int, budget: float) -> int:
    """Return how many trials a search that shows what the program does should train.

    Estimates are wrong, and a machine may be busier later, so that a good part of the budget is
    left over. A few trials are trained in any case: less would be no search.

    Args:
        found: the estimate for all of them.
        trials: all of them.
        budget: seconds that the search may take.
    """
    most = math.floor(trials * _USED * budget / found.search)
    return min(trials, max(_FEWEST, most))


def in_words(found: Estimate, budget: float | None) -> list[str]:
    """Return the lines that tell a user what to expect.

    Args:
        found: the estimate.
        budget: seconds that the search may take; None: unlimited.
    """
    if not found.is_measured:
        return ["By a rough guess the search takes less than a minute on an idle machine."]
    least, most = _time(found.low), _time(found.high)
    by = f" ({least} to {most} by architecture)" if least != most else ""
    over = budget is not None and found.search > budget
    cut = f", more than its budget of {duration(budget or 0)}" if over else ""
    at_once = f"{found.slots} at once" if found.slots > 1 else "one after the other"
    lines = [
        f"By an estimate for an idle machine: {_time(found.epoch)} an epoch{by}, "
        f"trials {at_once}; the search takes about {_time(found.search)}{cut}."
    ]
    if budget is not None and found.epoch > budget:
        lines.append(
            f"note: the budget of {duration(budget)} is shorter than an epoch of a typical trial: "
            f"many trials will end without a CER. Give a longer --time-budget, fewer sessions, or "
            f"a space of smaller architectures"
        )
    return lines


def _time(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else "less than 1s"


def _drawn(space: Space, train: Sequence[Recording], val: Sequence[Recording]) -> Iterator[_Work]:
    """Yield architectures of a space, from few operations to many."""
    works = []
    for config in drawn(space, _DRAWN):
        if "pretrained" not in config.model.encoder.kinds():
            seconds = config.training.window_seconds
            windows = sum(recording.samples for recording in train) / SAMPLE_RATE / seconds
            tested = sum(recording.samples for recording in val) / SAMPLE_RATE
            windows += _FORWARD * tested / VALIDATION_SECONDS
            macs = describe(config.model).macs_per_second * seconds
            works.append(_Work(config, windows, macs))
    yield from sorted(works, key=lambda work: work.macs)


def _measured(works: Sequence[_Work]) -> list[tuple[float, float]]:
    """Return operations of a window and seconds that it took, of as many as there is time for.

    One of few operations comes first, since a window of a large one can take seconds.
    """
    begin, used, found = time.perf_counter(), time.process_time(), []
    for share in (0.25, 0.75, 0.05, 0.95, 0.5):
        work = works[min(len(works) - 1, int(share * len(works)))]
        with contextlib.suppress(ValueError, RuntimeError):
            found.append((work.macs, _seconds_a_window(work)))
        spent = (time.process_time() - used) / torch.get_num_threads()
        if spent > _PROCESSOR or time.perf_counter() - begin > _CLOCK:
            break
    return found


def _seconds_a_window(work: _Work) -> float:
    """Return what a window takes in training, with as many others as a step has.

    A part of a step takes the same for any number of windows: most of it where a recurrent stage
    goes through time. So steps of one window and of a few are measured, and the line through both
    gives that of a whole batch.
    """
    size = min(work.config.training.batch_size, math.ceil(work.windows))
    one = _epoch(work.config, 1)
    if size == 1 or one > _LONG:
        return one / (1 + _FORWARD)
    count = min(size, max(2, int(_STEP / one)))
    few = _epoch(work.config, count)
    each = max(0.0, few - one) / (count - 1)
    return (few + each * (size - count)) / (size + _FORWARD)


def _epoch(config: Config, windows: int) -> float:
    """Return what an epoch of so many windows takes, and one of validation.

    The first epoch warms up. Of the next two the shorter counts, as others may use the machine.
    """
    changed = {"epochs": 3, "compile": False, "start_from": None}  # weights take no other time
    short = config.training.model_copy(update=changed)
    config = config.model_copy(update={"training": short})
    train = [_noise(windows, config.training.window_seconds)]
    seconds = []
    for result in fit(config, train, [_noise(1, VALIDATION_SECONDS)]):
        seconds.append(result.seconds)
        if seconds[-1] > _LONG:
            break
    return min(seconds[1:] or seconds)


def _noise(windows: int, seconds: float) -> Recording:
    """Return a recording of random numbers and keys that is so many windows long."""
    rng = np.random.default_rng(windows)
    samples = math.ceil(windows * seconds * SAMPLE_RATE)
    at = np.arange(SAMPLE_RATE // 10, samples, SAMPLE_RATE // _KEYS_A_SECOND)
    emg = rng.standard_normal((BANDS, BAND_ELECTRODES, samples), dtype=np.float32)
    labels = np.arange(len(at)) % 26
    return Recording("noise", emg, labels, at, at, has_key_times=True)


def _carried_over(measured: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Return what gives seconds of a window by its operations.

    A line through what was measured, and as high that all of it together takes what it took: a
    search takes the sum of its trials.
    """
    macs, seconds = np.array(measured).T
    slope = seconds.sum() / macs.sum()
    base = 0.0
    if len(measured) > 1 and np.ptp(macs) > 0.1 * macs.mean():
        weights = 1 / seconds  # small ones count as much as large ones
        slope, base = np.polyfit(macs, seconds, 1, w=weights)
        if slope < 0:
            slope, base = 0.0, seconds.mean()
        elif base < 0:
            slope, base = (seconds / macs).mean(), 0.0
    height = seconds.sum() / (base + slope * macs).sum()
    return lambda operations: float(height * (base + slope * operations))
