"""Character error rate and its parts, from edit counts that add up over windows and sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class EditCounts:
    """Edits that turn a target into a prediction, and the target's length.

    Rates are percentages of target characters, summed over the set before dividing. An insertion
    is a character that the prediction has too much, a deletion one that it lacks, as speech
    recognition counts them.
    """

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    target: int = 0

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.target + other.target,
        )

    @property
    def edits(self) -> int:
        """Insertions, deletions and substitutions."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def cer(self) -> float:
        """Character error rate (%); NaN for an empty target."""
        return self._rate(self.edits)

    @property
    def ier(self) -> float:
        """Insertion error rate (%)."""
        return self._rate(self.insertions)

    @property
    def der(self) -> float:
        """Deletion error rate (%)."""
        return self._rate(self.deletions)

    @property
    def ser(self) -> float:
        """Substitution error rate (%)."""
        return self._rate(self.substitutions)

    def _rate(self, edits: int) -> float:
        return 100.0 * edits / self.target if self.target else float("nan")


def count_edits(prediction: Sequence[int] | str, target: Sequence[int] | str) -> EditCounts:
    """Return the edits of one shortest edit script from target to prediction."""
    counts = {"insert": 0, "delete": 0, "replace": 0}
    # One script of several that are equally short. Its parts may be split otherwise elsewhere;
    # their sum may not.
    for edit in Levenshtein.editops(target, prediction):
        counts[edit.tag] += 1
    return EditCounts(counts["insert"], counts["delete"], counts["replace"], len(target))


def count_confusions(texts: Iterable[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Return how often each key was read as which, over texts as they were typed and read.

    A key that was left out was read as ``""``, one too many was typed as ``""``.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for typed, read in texts:
        for edit in Levenshtein.opcodes(typed, read):
            true, found = (
                typed[edit.src_start : edit.src_end],
                read[edit.dest_start : edit.dest_end],
            )
            counts.update(zip_longest(true, found, fillvalue=""))
    return counts
