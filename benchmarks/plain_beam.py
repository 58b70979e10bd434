"""The plain way to a prefix beam search: loops over prefixes and keys, KenLM asked for each.

The reference for the beam_search benchmark, and for the equality of what it is compared with. Each
prefix is one object that knows its children, so that no prefix is hashed or copied as a whole.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from emgmodels.charset import BLANK, key_of

NEVER = -math.inf


class Text:
    """What is on the screen: KenLM's state after it, its weighted score, and the way back."""

    def __init__(self, state: Any, liking: float, without: Text | None, typed: Text | None) -> None:
        self.state, self.liking = state, liking
        self.without, self.typed = without or self, typed or self


class PlainLanguage:
    """KenLM, weighted, with the rules of ``emgmodels.language`` for keys outside its vocabulary."""

    def __init__(self, path: Any, weight: float, bonus: float) -> None:
        import kenlm

        self.new, self.weight, self.bonus = kenlm.State, weight, bonus
        settings = kenlm.Config()
        settings.show_progress, settings.arpa_complain = False, kenlm.ARPALoadComplain.NONE
        self.model = kenlm.Model(str(path), settings)
        self.begin, empty = self.new(), self.new()
        self.model.BeginSentenceWrite(self.begin)
        self.model.NullContextWrite(empty)
        self.unknown = self.model.BaseScore(empty, "<unk>", self.new())
        self.keys = [key_of(label) for label in range(BLANK)]
        self.empty = Text(self.begin, 0.0, None, None)

    def type(self, text: Text, label: int) -> Text:
        key, after = self.keys[label], self.new()
        if key == "Key.backspace":
            return text.without
        if key in self.model:
            score = self.model.BaseScore(text.state, key, after)
        elif key == "Key.shift":
            return text
        else:
            score = self.unknown
            if text.state != self.begin:
                score = self.model.BaseScore(text.state, "</s>", after)
            after = self.begin
        liking = text.liking + (self.weight * score + self.bonus)
        if key == "Key.shift":
            return Text(after, liking, text.without, text.typed)
        return Text(after, liking, text.typed, None)


class Prefix:
    """A sequence of keys."""

    def __init__(self, parent: Prefix | None, last: int, text: Text | None) -> None:
        self.parent, self.last, self.text = parent, last, text
        self.children: dict[int, Prefix] = {}

    def child(self, label: int, language: PlainLanguage | None) -> Prefix:
        if label not in self.children:
            text = language.type(self.text, label) if language and self.text else None
            self.children[label] = Prefix(self, label, text)
        return self.children[label]

    def labels(self) -> list[int]:
        found, prefix = [], self
        while prefix.parent is not None:
            found.append(prefix.last)
            prefix = prefix.parent
        return found[::-1]


def plain_beam_search(
    log_probs: np.ndarray, width: int, labels: int, language: PlainLanguage | None = None
) -> list[int]:
    """Return the labels of the best prefix after (T, 99) log-probabilities."""
    beam = {Prefix(None, BLANK, language.empty if language else None): (0.0, NEVER)}

    def rank(entry: tuple[Prefix, tuple[float, float]]) -> float:
        prefix, (blank, label) = entry
        return add(blank, label) + (prefix.text.liking if prefix.text else 0.0)

    for frame in log_probs.astype(np.float64).tolist():
        likeliest = sorted(range(BLANK), key=lambda label: -frame[label])[:labels]
        grown: dict[Prefix, tuple[float, float]] = {}
        for prefix, (blank, label) in beam.items():
            total = add(blank, label)
            b, nb = grown.get(prefix, (NEVER, NEVER))
            grown[prefix] = (add(b, total + frame[BLANK]), nb)
            for key in likeliest:
                if key == prefix.last:
                    b, nb = grown[prefix]
                    grown[prefix] = (b, add(nb, label + frame[key]))
                longer = prefix.child(key, language)
                b, nb = grown.get(longer, (NEVER, NEVER))
                before = blank if key == prefix.last else total
                grown[longer] = (b, add(nb, before + frame[key]))
        beam = dict(heapq.nlargest(width, grown.items(), key=rank))
    return max(beam.items(), key=rank)[0].labels()


def add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
