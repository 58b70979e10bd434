"""How much of a space can be trained, and which of its values never can."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emgmodels.saying import counted

UNBUILT = "cannot be built"
"""The kind of reason that no constraint gives."""
_HARDLY = 0.05
"""Share of a space that is little."""
_NAMED = 3
"""Values of one kind that a message names."""


@dataclass(frozen=True)
class Feasibility:
    """What was found of a space by trying it."""

    samples: int
    """Configurations tried: all of a small space, else drawn at random."""
    feasible: int
    """Those that can be built and satisfy the constraints."""
    reasons: Mapping[str, int]
    """Why the others cannot be trained, and how often."""

    @property
    def share(self) -> float:
        """The part of the space that can be trained."""
        return self.feasible / self.samples

    @property
    def warning(self) -> str | None:
        """What to tell the user where not all of the space can be trained."""
        if not self.reasons:
            return None
        reason, count = Counter(self.reasons).most_common(1)[0]
        only = "only " if self.share < _HARDLY else ""
        return (
            f"{only}{self.feasible} of {counted(self.samples, 'sampled configuration')} can be "
            f"trained; {count} of the others: {reason}"
        )


class Tried:
    """Which values were tried, and whether anything with them could be built."""

    def __init__(self) -> None:
        self._times: Counter[tuple[str, Any]] = Counter()
        self._failed: dict[tuple[str, Any], list[str]] = {}
        self._causes: set[str] = set()

    def note(self, params: Mapping[str, Any], reason: tuple[str, str] | None) -> None:
        """Take in what was tried, and the kind and text of what keeps it from being trained."""
        self._causes.add("" if reason is None else without_numbers(reason[1]))
        for key in params.items():
            self._times[key] += 1
            if reason is not None and reason[0] == UNBUILT:
                self._failed.setdefault(key, []).append(reason[1])

    def impossible(self, least: int) -> list[str]:
        """Return the values of which nothing could be built, tried so often at least.

        Those of one parameter that fail for the same reason, numbers apart, are one line. Where
        all that was tried fails for one reason, no value is to blame.
        """
        if len(self._causes) == 1:
            return []
        alike: dict[tuple[str, str], list[tuple[Any, str]]] = {}
        for (name, value), reasons in self._failed.items():
            if len(reasons) == self._times[name, value] >= least:
                reason = reasons[0].removeprefix(f"{UNBUILT}: ")
                alike.setdefault((name, without_numbers(reason)), []).append((value, reason))
        found = []
        for (name, _), failed in alike.items():
            values = ", ".join(str(value) for value, _ in failed[:_NAMED])
            more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
            found.append(f"{name}: {values}{more}: nothing with it can be built: {failed[0][1]}")
        return found


def nothing_trained(samples: int, count: int, example: str) -> str:
    """Return what to tell where nothing that was tried of a space can be trained.

    Args:
        samples: configurations tried.
        count: those that fail for the commonest reason.
        example: that reason.

    >>> nothing_trained(1, 1, "cannot be built: width 64 is no multiple of heads 5")
    'nothing in this space can be trained: cannot be built: width 64 is no multiple of heads 5'
    >>> nothing_trained(20, 12, "40 parameters, more than max_parameters 9")[38:]
    'of 20 configurations tried, 12 fail like this one: 40 parameters, more than max_parameters 9'
    """
    nothing = "nothing in this space can be trained"
    if samples == 1:
        return f"{nothing}: {example}"
    tried = f"{counted(samples, 'configuration')} tried"
    return f"{nothing}: of {tried}, {counted(count, 'fails', 'fail')} like this one: {example}"


def without_numbers(text: str) -> str:
    """Return a message by which others of its kind are known."""
    return re.sub(r"\d+", "#", text)
