"""A character n-gram language model as a decoder asks it: states are integers, scores are arrays.

KenLM (Heafield 2011) holds the model; what it answered once is kept in a table.

What a key means to the model:

- A key of its vocabulary is scored after the keys before it.
- Any other key ends a word: it has the score of ``</s>``, and what comes next stands after ``<s>``.
  Where nothing was scored since ``<s>``, it has the score of ``<unk>`` instead. So an enter ends a
  line for a model of lines, and a space ends a word for a model of words.
- Shift types no character. Where the vocabulary lacks it, it is silent: neither scored nor an end.
- Backspace is never asked for: a decoder goes back to before the deleted character was typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emgmodels.charset import BLANK, key_of, label_of
from emgmodels.installing import how_to_install

START = 0
"""The state after ``<s>``."""
_SPACES = ("Key.space", "<space>", "▁")
"""How models write the space."""
_FEWEST_KEYS = 10
"""A vocabulary with fewer of the keys is of something else than characters."""
_UNKNOWN = -1


class LanguageModel:
    """An n-gram model of keys from an ARPA file or KenLM's binary format.

    Attributes:
        path: the file.
        order: length of its n-grams.
        silent: labels that it neither scores nor takes for the end of a word.
    """

    def __init__(self, path: str | Path) -> None:
        """Load a model.

        Raises:
            ValueError: there is no such file, KenLM is not installed, the file is no n-gram model,
                or its vocabulary is not of characters.
        """
        self.path = Path(path)
        kenlm = _import_kenlm()
        self._model = _load(kenlm, self.path)
        self._new_state = kenlm.State
        self.order = int(self._model.order)
        self._tokens = [self._token(label) for label in range(BLANK)]
        if len([token for token in self._tokens if token]) < _FEWEST_KEYS:
            raise ValueError(
                f"{path}: its vocabulary has hardly any of the keys: the model must be of "
                f"characters, one token each; python -m emgmodels.language build makes one"
            )
        shift = label_of("Key.shift")
        self.silent = frozenset({shift} if shift is not None and not self._tokens[shift] else ())
        start = self._new_state()
        self._model.BeginSentenceWrite(start)
        empty, scratch = self._new_state(), self._new_state()
        self._model.NullContextWrite(empty)
        self._unknown_score = self._model.BaseScore(empty, "<unk>", scratch)
        self._states = [start]
        self._ids = {start: START}
        # A beam asks the same few contexts thousands of times, and each question to KenLM crosses
        # from Python to C.
        self._scores = np.full((256, BLANK), np.nan)
        self._next = np.full((256, BLANK), _UNKNOWN, np.int32)

    def knows(self, label: int) -> bool:
        """Return whether a key is in the vocabulary."""
        return bool(self._tokens[label])

    def scores(self, states: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (M,) log10 of the probability of each key after its state.

        Args:
            states: (M,) states.
            labels: (M,) labels, none of them silent or the backspace.
        """
        found = self._scores[states, labels]
        missing = np.isnan(found).nonzero()[0]
        if len(missing):
            scratch = self._new_state()
            asked = zip(states[missing].tolist(), labels[missing].tolist(), strict=True)
            for state, label in asked:
                self._scores[state, label] = self._ask(state, label, scratch)
            found = self._scores[states, labels]
        return found

    def successors(self, states: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return (M,) the states after these keys."""
        found = self._next[states, labels]
        for i in (found == _UNKNOWN).nonzero()[0].tolist():
            state, label = int(states[i]), int(labels[i])
            found[i] = self._next[state, label] = self._follow(state, label)
        return found

    def _token(self, label: int) -> str | None:
        """Return what a key is called in the vocabulary, None where it is not in it."""
        key = key_of(label)
        names = _SPACES if key == "Key.space" else (key,)
        return next((name for name in names if name in self._model), None)

    def _ask(self, state: int, label: int, after: Any) -> float:
        """Return log10 of a key's probability and write the state after it."""
        token = self._tokens[label]
        # After nothing was typed, the end of a sentence would be what the model has never seen.
        if token is None and state == START:
            return float(self._unknown_score)
        return float(self._model.BaseScore(self._states[state], token or "</s>", after))

    def _follow(self, state: int, label: int) -> int:
        if self._tokens[label] is None:
            return START
        after = self._new_state()
        self._ask(state, label, after)
        known = self._ids.setdefault(after, len(self._states))
        if known == len(self._states):
            self._states.append(after)
            if known == len(self._scores):
                self._scores = _doubled(self._scores, np.nan)
                self._next = _doubled(self._next, _UNKNOWN)
        return known


def _import_kenlm() -> Any:
    try:
        import kenlm
    except ImportError:
        raise ValueError(
            "a language model needs KenLM, which is not installed (it is compiled by a C++ "
            f"compiler and cmake): {how_to_install('lm')}"
        ) from None
    return kenlm


def _load(kenlm: Any, path: Path) -> Any:
    if not path.is_file():
        raise ValueError(
            f"{path}: there is no such file; python -m emgmodels.language build TEXT makes one"
        )
    settings = kenlm.Config()
    settings.show_progress = False
    # KenLM would advise on the console to convert the file.
    settings.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(str(path), settings)
    except (OSError, RuntimeError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"{path}: is no n-gram model that KenLM reads: {reason}") from None


def _doubled(rows: np.ndarray, fill: float) -> np.ndarray:
    return np.concatenate([rows, np.full_like(rows, fill)])
