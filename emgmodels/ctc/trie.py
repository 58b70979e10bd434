"""What beam search remembers: prefixes as a trie, and the text that each leaves on the screen.

Both are tables of linked rows, numbered from 0, the empty one. Rows are added for what enters the
beam. Those that nothing in the beam descends from are forgotten from time to time. So memory grows
with the length of the text and not with that of the session.
"""

from __future__ import annotations

import numpy as np

from emgmodels.charset import BLANK, label_of
from emgmodels.language import START, LanguageModel

LARGE = 1 << 18
"""Rows beyond those in use that are worth being forgotten."""
_BACKSPACE, _SHIFT = label_of("Key.backspace"), label_of("Key.shift")


class _Rows:
    """Integer columns of equal, growing length; row 0 is there from the start, all zero.

    Attributes:
        columns: (C, capacity) values.
        links: which columns are numbers of rows.
        count: rows in use.
    """

    def __init__(self, columns: int, links: list[int]) -> None:
        self.columns = np.zeros((columns, 1024), np.int64)
        self.links = links
        self.count = 1
        # Forgetting takes time in proportion to what stays, so the limit grows with it.
        self._limit = LARGE

    @property
    def is_large(self) -> bool:
        """Whether it is time to forget rows."""
        return self.count > self._limit

    def append(self, rows: int) -> np.ndarray:
        """Make room for rows and return their numbers."""
        numbers = np.arange(self.count, self.count + rows)
        self.count += rows
        if self.count > self.columns.shape[1]:
            # Doubled, so that the copies together take no longer than the search itself.
            room = np.zeros((len(self.columns), max(self.count, self.columns.shape[1])), np.int64)
            self.columns = np.concatenate((self.columns, room), axis=1)
        return numbers

    def keep(self, numbers: np.ndarray) -> np.ndarray:
        """Forget all rows but these and those linked from them; return the old numbers, sorted."""
        used = np.zeros(self.count, bool)
        used[0] = True
        ahead = np.unique(numbers)
        while len(ahead):
            used[ahead] = True
            ahead = np.unique(self.columns[self.links][:, ahead])
            ahead = ahead[~used[ahead]]
        old = np.flatnonzero(used)
        columns = self.columns[:, old]
        columns[self.links] = np.searchsorted(old, columns[self.links])
        self.columns, self.count = columns, len(old)
        self._limit = 2 * self.count + LARGE
        return old


class PrefixTrie:
    """Prefixes by number; the same prefix always has the same one."""

    _PARENT, _LAST = range(2)

    def __init__(self) -> None:
        self._rows = _Rows(2, links=[self._PARENT])
        # A prefix that left the beam may come back, and must be the same row again: the beam
        # looks for a parent by its number.
        self._known: dict[int, int] = {}
        self._slot = np.zeros(1024, np.int64)

    @property
    def is_large(self) -> bool:
        """Whether it is time for ``keep``."""
        return self._rows.is_large

    def add(self, parents: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Return (M,) numbers of the prefixes ``parents`` with one more key each."""
        steps = (parents * BLANK + keys).tolist()
        ahead = self._rows.count
        found = [self._known.get(step, -1) for step in steps]
        for i, number in enumerate(found):
            if number < 0:
                self._known[steps[i]] = found[i] = ahead
                ahead += 1
        numbers = np.array(found, np.int64)
        self._rows.append(ahead - self._rows.count)
        self._rows.columns[self._PARENT, numbers] = parents
        self._rows.columns[self._LAST, numbers] = keys
        return numbers

    def slots(self, numbers: np.ndarray) -> np.ndarray:
        """Return (B,) where among these prefixes each one's parent is, -1 where it is not."""
        if self._rows.count > len(self._slot):
            self._slot = np.zeros(2 * self._rows.count, np.int64)
        parents = self._rows.columns[self._PARENT, numbers]
        self._slot[numbers] = np.arange(len(numbers))
        # The table has old entries of other frames, so what it gives is checked against the
        # parent's number.
        slot = np.minimum(self._slot[parents], len(numbers) - 1)
        return np.where((numbers[slot] == parents) & (numbers > 0), slot, -1)

    def labels(self, number: int) -> list[int]:
        """Return the keys of a prefix."""
        keys = []
        while number:
            keys.append(int(self._rows.columns[self._LAST, number]))
            number = int(self._rows.columns[self._PARENT, number])
        return keys[::-1]

    def keep(self, numbers: np.ndarray) -> np.ndarray:
        """Forget all prefixes but these and what they begin with; return their new numbers."""
        old = self._rows.keep(numbers)
        parents, last = self._rows.columns[:, 1:]
        self._known = dict(zip((parents * BLANK + last).tolist(), range(1, len(old)), strict=True))
        return np.searchsorted(old, numbers)


class TypedText:
    """What prefixes leave on the screen, and how a language model likes it.

    A shift of the language model's vocabulary waits for the next character: it is in the model's
    context and score, but a backspace takes off the character before it, and the shift as well.

    Args:
        language: the model.
        weight: of its log10 probabilities.
        bonus: for each key that it scores.
    """

    _STATE, _WITHOUT, _TYPED = range(3)
    """The model's state, the text after a backspace, the text without shifts that wait."""

    def __init__(self, language: LanguageModel, weight: float, bonus: float) -> None:
        self._language, self._weight, self._bonus = language, weight, bonus
        self._rows = _Rows(3, links=[self._WITHOUT, self._TYPED])
        self._rows.columns[self._STATE, 0] = START
        self._liking = np.zeros(1024)
        self._silent = np.array([label in language.silent for label in range(BLANK)])
        self._scored = ~self._silent
        self._scored[_BACKSPACE] = False

    @property
    def is_large(self) -> bool:
        """Whether it is time for ``keep``."""
        return self._rows.is_large

    def standing(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (B,) weighted scores of texts, and of what a backspace makes of them."""
        return self._liking[texts], self._liking[self._rows.columns[self._WITHOUT, texts]]

    def likings(self, texts: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Return (M,) weighted scores of texts after one more key each."""
        states, without, _ = self._rows.columns[:, texts]
        scored = self._scored[keys]
        if scored.all():
            scores = self._language.scores(states, keys)
            return self._liking[texts] + (self._weight * scores + self._bonus)
        found = self._liking[np.where(keys == _BACKSPACE, without, texts)]
        scores = self._language.scores(states[scored], keys[scored])
        found[scored] += self._weight * scores + self._bonus
        return found

    def type(self, texts: np.ndarray, keys: np.ndarray, likings: np.ndarray) -> np.ndarray:
        """Return (M,) the texts after one more key each, whose likings are known."""
        new = self._scored[keys]
        if new.all():
            return self._append(texts, keys, likings)
        after = np.where(keys == _BACKSPACE, self._rows.columns[self._WITHOUT, texts], texts)
        after[new] = self._append(texts[new], keys[new], likings[new])
        return after

    def keep(self, texts: np.ndarray) -> np.ndarray:
        """Forget all texts but these and what backspaces lead to; return their new numbers."""
        old = self._rows.keep(texts)
        self._liking = self._liking[old]
        return np.searchsorted(old, texts)

    def _append(self, texts: np.ndarray, keys: np.ndarray, likings: np.ndarray) -> np.ndarray:
        states, without, typed = self._rows.columns[:, texts]
        numbers = self._rows.append(len(texts))
        shift = keys == _SHIFT
        self._rows.columns[self._STATE, numbers] = self._language.successors(states, keys)
        self._rows.columns[self._WITHOUT, numbers] = np.where(shift, without, typed)
        self._rows.columns[self._TYPED, numbers] = np.where(shift, typed, numbers)
        if self._rows.count > len(self._liking):
            room = np.zeros(max(self._rows.count, len(self._liking)))
            self._liking = np.concatenate((self._liking, room))
        self._liking[numbers] = likings
        return numbers
