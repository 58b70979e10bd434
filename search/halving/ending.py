"""Why a trial ended: a value with its numbers, and the words that a person reads.

Programs compare ``Ending.why`` and never words. Words are made here and nowhere else; the same
templates read the sentences of run folders that were written before there were values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from emgmodels.saying import counted


class Why(StrEnum):
    """Why a trial ended; the text of a member is what the trials table holds."""

    WHOLE = "whole"
    """Trained to its last epoch, or until it had cost what a trial may cost."""
    OUTRANKED = "outranked"
    """Too many others were better at a rung."""
    DIVERGED = "diverged"
    """A metric was not finite."""
    STOPPED = "stopped"
    """By a scheduler that gives no other reason."""
    EARLIER = "earlier"
    """It ended before the search was resumed."""
    ENDED = "ended"
    """By Ray, or by itself, before a decision was due."""
    UNSTARTED = "unstarted"
    """It ended while it waited."""
    IN_TIME = "in time"
    """For the search to end within its time: there was none for another epoch."""
    FAILED = "failed"
    """By an error that is told elsewhere."""
    ERROR = "error"
    """An error inside the training, or one that no other member names."""
    MEMORY = "out of memory"
    GPU_MEMORY = "out of GPU memory"
    EVICTED = "evicted"
    """Ray ended its process, since the machine ran out of memory."""
    CRASHED = "crashed"
    """Its process was killed, or crashed."""
    HUNG = "hung"
    """It was silent for too long."""
    TIME_BUDGET = "time budget"
    """The search's time was spent."""
    INTERRUPTED = "interrupted"
    """Ctrl-C, or another signal, ended the search."""
    DISK_FULL = "disk full"
    TARGET = "target"
    """The search found the CER that it was to find."""
    PATIENCE = "patience"
    """Too many trials ended without a new best."""
    IMPROVEMENT = "improvement"
    """A better trial had become unlikely."""
    NONE_TRAINS = "none trains"
    """The search was given up, since no trial could be trained."""
    SEARCH_FAILED = "search failed"
    """An error of the search itself."""


_WORDS = {
    Why.WHOLE: "trained all {epochs}",
    Why.OUTRANKED: "stopped at rung {rung}: rank {rank} of {reached}",
    Why.DIVERGED: "diverged at epoch {epoch}: {metric} is {value}",
    Why.STOPPED: "stopped by the scheduler at epoch {epoch}",
    Why.EARLIER: "ended in an earlier run",
    Why.ENDED: "ended after {epochs}",
    Why.UNSTARTED: "ended while it waited",
    Why.IN_TIME: "ended at epoch {epoch}, for the search to end in its time",
    Why.FAILED: "failed after {epochs}",
    Why.MEMORY: "out of memory",
    Why.GPU_MEMORY: "out of GPU memory",
    Why.EVICTED: "out of memory: Ray ended its process before the machine ran out",
    Why.CRASHED: "its process was killed, or crashed",
    Why.HUNG: "hung: no report within {seconds} s (search.hang_after)",
    Why.TIME_BUDGET: "the time budget was spent",
    Why.INTERRUPTED: "the search was interrupted",
    Why.DISK_FULL: "the disk was full",
    Why.TARGET: "the target CER was reached (search.stop.target_cer: {value})",
    Why.PATIENCE: "{in_a_row} no better (search.stop.patience)",
    Why.IMPROVEMENT: "a better trial had a chance of {value} (search.stop.improvement)",
    Why.NONE_TRAINS: "no trial could be trained",
    Why.SEARCH_FAILED: "the search failed: {message}",
    Why.ERROR: "{message}",  # the last, since it reads whatever no other does
}
_SPENT = "trained for {rung} in {epochs}, as long as a trial may"
_RETRIED = {Why.ERROR, Why.MEMORY, Why.GPU_MEMORY, Why.EVICTED, Why.CRASHED, Why.HUNG}
"""What ends a trial that is started again, a few times."""
RULES = {Why.TARGET, Why.PATIENCE, Why.IMPROVEMENT}
"""The rules of ``search.stop``, by which a search is over though trials are left."""
_CUTS = {
    *(Why.TIME_BUDGET, Why.INTERRUPTED, Why.DISK_FULL, Why.NONE_TRAINS, Why.SEARCH_FAILED),
    *RULES,
}
"""What ends a search, and cuts off the trials that are not over."""
_AGAIN = "starts again: "


@dataclass(frozen=True)
class Ending:
    """Why a trial, or a whole search, ended."""

    why: Why
    epoch: int | None = None
    """Epochs that the trial had trained."""
    rung: float | None = None
    """Epoch of the rung at which it was stopped; with a unit its cost, or the cost of a trial at
    most."""
    unit: str | None = None
    """Unit of that cost: ``s``, or ``MACs`` for multiply-accumulates."""
    rank: int | None = None
    """How many were as good as it at the rung, itself included, or better."""
    reached: int | None = None
    """How many had reached the rung; how many trials were no better."""
    metric: str | None = None
    """The metric that was not finite; what the rung compared, where that is not the CER alone."""
    value: str | None = None
    """The metric's value: ``nan``, ``inf`` or ``-inf``, which JSON has no numbers for; the target,
    or the chance of a better trial."""
    seconds: int | None = None
    """How long it was silent."""
    message: str | None = None
    """What the error said, in one line."""
    times: int | None = None
    """How often it failed; None: once."""
    state: str | None = None
    """What the trial did when the search ended: ``running``, ``paused`` or ``waiting``."""
    again: bool | None = None
    """It is started once more."""

    def __str__(self) -> str:
        """Return it in words, as every table has them."""
        rung = "" if self.rung is None else level(self.rung, self.unit)
        words = _SPENT if self.why is Why.WHOLE and self.unit else _WORDS[self.why]
        counts = {
            "epochs": counted(self.epoch or 0, "epoch"),
            "in_a_row": counted(self.reached or 0, "trial in a row was", "trials in a row were"),
        }
        # What is read back has its digits in one piece.
        counts = {name: count.replace(",", "") for name, count in counts.items()}
        text = words.format_map({**vars(self), **counts, "rung": rung})
        if self.why is Why.OUTRANKED and self.metric:
            text = f"{text} by {self.metric}"
        if self.state is not None:
            text = f"{self.state} at epoch {self.epoch} when {text}"
        if self.times is not None:
            text = f"{text}, {counted(self.times, 'time')}"
        return f"{_AGAIN}{text}" if self.again else text

    @property
    def facts(self) -> dict[str, Any]:
        """The numbers and texts that it needs, by name; plain values."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {**known, "why": self.why.value}

    def cut(self, state: str, epoch: int) -> Ending:
        """Return the ending of a trial that the end of its search cut off."""
        return replace(self, state=state, epoch=epoch)


def ending_of(known: Mapping[str, Any] | str | None) -> Ending | None:
    """Return an ending from its ``facts``, or from the sentence that an older version wrote.

    Any sentence reads back to the same words: what no template fits is an error's message.

    Raises:
        ValueError: the facts are no ending's.
    """
    if not known:
        return None
    if isinstance(known, str):
        return _from_words(known)
    try:
        return Ending(**{**known, "why": Why(known["why"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"says why no trial ends: {dict(known)!r}: {error}") from None


def level(cost: float, unit: str | None) -> str:
    """Return a cost in words: ``9`` (epochs), ``90 s``, ``1.5e+12 MACs``."""
    return f"{cost:g} {unit}" if unit else str(cost)


_NUMBERS = ("epoch", "rung", "rank", "reached", "seconds", "times")


def _from_words(text: str) -> Ending:
    found = next((why, hit) for why, each in _PATTERNS.items() if (hit := each.fullmatch(text)))
    facts: dict[str, Any] = {k: v for k, v in found[1].groupdict().items() if v is not None}
    facts |= {name: int(facts[name]) for name in _NUMBERS if name in facts}
    if "again" in facts:
        facts["again"] = True
    return Ending(found[0], **facts)


def _pattern(why: Why) -> re.Pattern[str]:
    """Return what reads the words of one member, with what may stand around them."""

    def field(name: str) -> str:
        if name == "epochs":
            return rf"{field('epoch')} epochs?"
        if name == "in_a_row":
            return rf"{field('reached')} trials? in a row (?:was|were)"
        inner = "0|[1-9][0-9]*" if name in _NUMBERS else ".*?"
        return f"(?P<{name}>{inner})"

    parts = re.split(r"\{(\w+)\}", _WORDS[why])
    body = "".join(field(part) if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
    if why is Why.OUTRANKED:
        body = f"{body}(?: by {field('metric')})?"
    if why in _CUTS:
        when = rf"(?P<state>running|paused|waiting) at epoch {field('epoch')} when "
        body = f"(?:{when})?{body}"
    if why in _RETRIED:
        body = f"(?P<again>{_AGAIN})?{body}(?:, {field('times')} times)?"
    return re.compile(body, re.DOTALL)


_PATTERNS = {why: _pattern(why) for why in _WORDS}
