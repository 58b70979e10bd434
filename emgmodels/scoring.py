"""How the windows of several users come to one error rate: the one by which a model is ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

RankBy = Literal["pooled", "mean_user", "worst_user"]
RANKINGS: tuple[RankBy, ...] = get_args(RankBy)
PEOPLE = "people"
"""In ``environment.json``: what ranks, and users and their windows in the order of validation."""


@dataclass(frozen=True, eq=False)
class Rates:
    """The CERs (%) of one model, or of several; each value may have leading axes.

    Attributes:
        users: (..., U) of each user, NaN for one without characters.
        pooled: edits of all users by characters of all.
    """

    users: np.ndarray
    pooled: np.ndarray

    @property
    def mean_user(self) -> np.ndarray:
        """The mean over users, each counting the same."""
        return np.nanmean(self.users, axis=-1)

    @property
    def sd_user(self) -> np.ndarray:
        """The standard deviation over users, as of a sample; NaN for one user."""
        known = np.isfinite(self.users).sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            squares = np.nansum((self.users - self.mean_user[..., None]) ** 2, axis=-1)
            return np.where(known > 1, np.sqrt(squares / (known - 1)), np.nan)

    @property
    def worst_user(self) -> np.ndarray:
        """The highest of any user."""
        return np.nanmax(self.users, axis=-1)

    def by(self, ranking: RankBy) -> np.ndarray:
        """Return the one that a model is ranked by."""
        found: np.ndarray = getattr(self, ranking)
        return found


@dataclass(frozen=True, eq=False)
class Scoring:
    """Whose each validation window is, and what a model is ranked by.

    Attributes:
        by: which CER ranks.
        names: the users.
        of_window: (W,) index of each window's user.
    """

    by: RankBy
    names: tuple[str, ...]
    of_window: np.ndarray

    @classmethod
    def of(cls, users: Iterable[str], by: RankBy | None = None) -> Scoring:
        """Return the scoring of windows.

        Args:
            users: whose each window is.
            by: which CER ranks; None: the mean over users where there are several.
        """
        listed = list(users)
        names = tuple(dict.fromkeys(listed))
        place = {name: index for index, name in enumerate(names)}
        of_window = np.array([place[user] for user in listed], dtype=np.int64)
        return cls(by or default_ranking(names), names, of_window)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Users and how many windows in a row are theirs; ``of_runs`` reads it back."""
        if not len(self.of_window):
            return []
        begins = np.flatnonzero(np.diff(self.of_window, prepend=-1))
        lengths = np.diff(begins, append=len(self.of_window))
        whose = self.of_window[begins].tolist()
        return [(self.names[user], n) for user, n in zip(whose, lengths.tolist(), strict=True)]

    @classmethod
    def of_runs(cls, runs: Iterable[Sequence[object]], by: RankBy) -> Scoring:
        """Return what ``runs`` was made of."""
        return cls.of((str(name) for name, count in runs for _ in range(int(str(count)))), by)

    @classmethod
    def in_facts(cls, facts: Mapping[str, Any]) -> Scoring | None:
        """Return what ``environment.json`` says of a search; None: one user's, or not known."""
        people = facts.get(PEOPLE)
        return None if people is None else cls.of_runs(people["windows"], people["rank_by"])

    def rates(self, edits: np.ndarray, characters: np.ndarray) -> Rates:
        """Return the CERs of models on the same windows.

        Args:
            edits: (..., W) of each window.
            characters: (W,) of each window.
        """
        typed = self.sums(characters)
        with np.errstate(invalid="ignore", divide="ignore"):
            users = 100.0 * self.sums(edits) / np.where(typed, typed, np.nan)
            pooled = 100.0 * edits.sum(axis=-1, dtype=float) / characters.sum(dtype=float)
        return Rates(users, pooled)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the (..., U) sums over each user's windows of (..., W) values, as floats."""
        order, begins = self._order
        ordered = values if order is None else values[..., order]
        # Of floats, since sums of the two bytes that a search keeps of a window would overflow.
        return np.add.reduceat(ordered, begins, axis=-1, dtype=float)

    @cached_property
    def _order(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Windows user by user, None where they are so already; and where each user's begin."""
        counts = np.bincount(self.of_window, minlength=len(self.names))
        begins = np.cumsum(counts) - counts
        if (np.diff(self.of_window) >= 0).all():
            return None, begins
        return np.argsort(self.of_window, kind="stable"), begins

    def cer(self, edits: np.ndarray, characters: np.ndarray) -> np.ndarray:
        """Return the CER (%) that ranks, as ``rates``."""
        return self.rates(edits, characters).by(self.by)


def default_ranking(users: Sequence[str]) -> RankBy:
    """Return what models are ranked by where nobody says: over several users by their mean."""
    return "mean_user" if len(set(users)) > 1 else "pooled"
