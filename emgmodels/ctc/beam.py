"""Prefix beam search over CTC emissions, with a language model that understands backspace.

A prefix is a sequence of keys; its probability is the sum over all alignments that collapse to it
(Graves et al. 2006; Hannun et al. 2014), kept as those that end in the blank and those that end in
its last key. Prefixes are ranked by

    ln p(prefix | EMG) + weight x log10 p(text) + bonus x len(text)

The language model counts in log10, as ARPA files, KenLM and emg2qwerty do, so that a weight found
there means the same here. Text is what the keys leave on the screen: a backspace takes the last
character off again, and its language model score and bonus with it. So the second part depends on
the prefix alone, and is looked up.

All prefixes and keys of a frame are arrays. A frame in which no new prefix can reach the beam only
moves the scores of those in it. What can't reach the beam is told by an upper bound of its score,
so the text is that of a search without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from emgmodels.charset import BLANK, NUM_CLASSES, label_of
from emgmodels.ctc.defaults import BONUS, LABELS, WEIGHT, WIDTH
from emgmodels.ctc.trie import PrefixTrie, TypedText
from emgmodels.language import LanguageModel

_NOTHING = NUM_CLASSES
"""Last key of the empty prefix: a column of emissions that is -inf."""
_BACKSPACE = label_of("Key.backspace")


@dataclass(frozen=True)
class BeamSearch:
    """How to search.

    Attributes:
        width: prefixes that are kept from frame to frame.
        labels: keys that a frame may bring, the likeliest; the others have probability zero.
        language: ranks what is typed; None: emissions alone.
        weight: of the language model's log10 probabilities; 2.3 counts as much as the emissions.
        bonus: for each key that the language model scores, against its liking for short texts.
    """

    width: int = WIDTH
    labels: int = LABELS
    language: LanguageModel | None = None
    weight: float = WEIGHT
    bonus: float = BONUS

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"beam {self.width}" + (f" + {self.language.path.name}" if self.language else "")

    def __post_init__(self) -> None:
        for name in ("width", "labels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")

    def decode(self, log_probs: Tensor | np.ndarray) -> list[int]:
        """Return the labels of the best prefix after all frames.

        Args:
            log_probs: (T, 99) log-probabilities of one window or session.
        """
        beam = _Beam(self)
        # Sums over thousands of frames lose too many digits in float32.
        beam.advance(np.asarray(log_probs, dtype=np.float64))
        return beam.best()


def beam_decode(log_probs: Tensor, search: BeamSearch | None = None) -> list[list[int]]:
    """Return the labels of the best prefix of each window, as ``greedy_decode`` does of its path.

    Args:
        log_probs: (N, T, 99) log-probabilities.
        search: how to search; None: ``BeamSearch()``.
    """
    search = search or BeamSearch()
    return [search.decode(window) for window in log_probs.cpu()]


@dataclass(frozen=True, eq=False)
class _Grown:
    """Prefixes of the beam with one more key each.

    Attributes:
        slot: (M,) where in the beam the prefix is.
        key: (M,) the key.
        label: (M,) log-probability, all of it of alignments that end in the key.
        liking: (M,) of the language model for the text, weighted.
    """

    slot: np.ndarray
    key: np.ndarray
    label: np.ndarray
    liking: np.ndarray


class _Beam:
    """The prefixes that are kept, as (B,) arrays.

    Attributes:
        node: of the trie of prefixes.
        last: last key, ``_NOTHING`` of the empty prefix.
        blank: log-probability of the alignments that end in the blank.
        label: of those that end in the last key.
        total: of both.
        text: what stands on the screen; 0 without a language model.
        liking: of the language model for it, weighted.
        undone: what the liking would be after a backspace.
        room: what the liking of a prefix can be at most after one other key.
        child: those whose parent, the prefix without its last key, is in the beam as well.
        parent: where these parents are.
        source: where among ``blank``, ``total`` and -inf of the beam the parent hands on from.
    """

    def __init__(self, search: BeamSearch) -> None:
        self.search = search
        self.trie = PrefixTrie()
        language = search.language
        self.typed = TypedText(language, search.weight, search.bonus) if language else None
        self.node = np.zeros(1, np.int64)
        self.last = np.full(1, _NOTHING)
        self.blank, self.label = np.zeros(1), np.full(1, -np.inf)
        self.total = np.zeros(1)
        self.text = np.zeros(1, np.int64)
        self._settle()

    def advance(self, log_probs: np.ndarray) -> None:
        """Go through (T, 99) frames."""
        rows, keys = _likeliest(log_probs, self.search.labels)
        scores = np.take_along_axis(rows, keys, axis=1)
        for row, row_keys, row_scores in zip(rows, keys, scores, strict=True):
            self._step(row, row_keys, row_scores)
            # What no prefix in the beam descends from is forgotten now and then, so that a whole
            # session fits into memory.
            if self.trie.is_large or (self.typed is not None and self.typed.is_large):
                self._forget()

    def best(self) -> list[int]:
        """Return the labels of the best prefix."""
        return self.trie.labels(int(self.node[np.argmax(self.total + self.liking)]))

    def _step(self, row: np.ndarray, keys: np.ndarray, scores: np.ndarray) -> None:
        """Go through one frame.

        Args:
            row: (100,) log-probabilities; -inf of keys that the frame can't bring.
            keys: (K,) those it can, likeliest first.
            scores: (K,) their log-probabilities.
        """
        # A prefix gains what its parent hands on with the same key. Without that, one text would
        # be counted as several.
        handed_on = np.concatenate((self.blank, self.total, _IMPOSSIBLE))[self.source]
        blank = self.total + row[BLANK]
        label = row[self.last] + np.logaddexp(self.label, handed_on)
        total = np.logaddexp(blank, label)
        # A new prefix must beat the worst that is kept. While the beam has room, any does.
        floor = -np.inf
        if len(total) == self.search.width:
            floor = (total + self.liking).min()
        # An upper bound: the best prefix with the best that one more key can add. It leaves out
        # nothing that could reach the beam, so the text stays exact.
        reachable = scores > floor - (self.total + self.room).max()
        # A backspace may raise the score of the text, so it has a bound of its own.
        if self.typed is not None and row[_BACKSPACE] > floor - (self.total + self.undone).max():
            reachable |= keys == _BACKSPACE
        # Most frames are blanks, in which no prefix grows. They need no selection.
        if not reachable.any():
            self.blank, self.label, self.total = blank, label, total
            return
        grown = self._grow(keys[reachable], scores[reachable], floor)
        self.blank, self.label, self.total = blank, label, total
        self._select(grown)

    def _grow(self, keys: np.ndarray, scores: np.ndarray, floor: float) -> _Grown:
        """Return the prefixes with one more key each, those that can reach the beam.

        What is in the beam already is none of them: it has been handed on.
        """
        doubled = self.last[:, None] == keys
        # Behind its own last key a prefix grows only from alignments that end in the blank:
        # others collapse to one key.
        log_probs = np.where(doubled, self.blank[:, None], self.total[:, None]) + scores
        able = log_probs + self.room[:, None] > floor
        if self.typed is not None:
            undo = keys == _BACKSPACE
            able[:, undo] = log_probs[:, undo] + self.undone[:, None] > floor
        place = np.full(_NOTHING, -1)
        place[keys] = np.arange(len(keys))
        column = place[self.last[self.child]]
        reached = column >= 0
        able[self.parent[reached], column[reached]] = False
        slot, column = able.nonzero()
        key, label = keys[column], log_probs[slot, column]
        if self.typed is None:
            return _Grown(slot, key, label, np.zeros(len(slot)))
        # The language model is asked last, and only for what can reach the beam.
        return _Grown(slot, key, label, self.typed.likings(self.text[slot], key))

    def _select(self, grown: _Grown) -> None:
        """Keep the best of the prefixes and of the grown ones."""
        width, size = self.search.width, len(self.node)
        rank = np.concatenate((self.total + self.liking, grown.label + grown.liking))
        if len(rank) > width:
            # Which prefixes are kept matters, their order does not. A whole sort is slower.
            kept = np.argpartition(rank, len(rank) - width)[-width:]
            old, new = kept[kept < size], kept[kept >= size] - size
            if not len(new):
                return
        else:
            old, new = np.arange(size), np.arange(len(grown.key))
        parent, key, label = grown.slot[new], grown.key[new], grown.label[new]
        node = self.trie.add(self.node[parent], key)
        text = self.text[parent]
        if self.typed is not None:
            text = self.typed.type(text, key, grown.liking[new])
        self.node = np.concatenate((self.node[old], node))
        self.last = np.concatenate((self.last[old], key))
        self.blank = np.concatenate((self.blank[old], np.full(len(new), -np.inf)))
        self.label = np.concatenate((self.label[old], label))
        self.total = np.concatenate((self.total[old], label))
        self.text = np.concatenate((self.text[old], text))
        self._settle()

    def _settle(self) -> None:
        """Derive what stays the same until other prefixes are in the beam."""
        size = len(self.node)
        slot = self.trie.slots(self.node)
        self.child = (slot >= 0).nonzero()[0]
        self.parent = slot[self.child]
        doubled = self.last[slot] == self.last
        self.source = np.where(slot < 0, 2 * size, slot + size * ~doubled)
        if self.typed is None:
            self.liking = self.undone = self.room = np.zeros(size)
        else:
            self.liking, self.undone = self.typed.standing(self.text)
            self.room = self.liking + max(self.search.bonus, 0.0)

    def _forget(self) -> None:
        self.node = self.trie.keep(self.node)
        if self.typed is not None:
            self.text = self.typed.keep(self.text)


_IMPOSSIBLE = np.array([-np.inf])


def _likeliest(log_probs: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return emissions without the unlikely keys, and (T, K) the others, likeliest first."""
    keys = np.argsort(-log_probs[:, :BLANK], axis=1, kind="stable")[:, :labels]
    rows = np.full((len(log_probs), _NOTHING + 1), -np.inf)
    rows[:, BLANK] = log_probs[:, BLANK]
    np.put_along_axis(rows, keys, np.take_along_axis(log_probs, keys, axis=1), axis=1)
    return rows, keys
