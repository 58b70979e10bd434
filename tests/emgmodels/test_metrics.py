import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emgmodels.metrics import EditCounts, count_edits


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ("abc", "abc", EditCounts(0, 0, 0, 3)),
        ("abxc", "abc", EditCounts(1, 0, 0, 3)),
        ("ac", "abc", EditCounts(0, 1, 0, 3)),
        ("axc", "abc", EditCounts(0, 0, 1, 3)),
        ("", "abc", EditCounts(0, 3, 0, 3)),
        ("abc", "", EditCounts(3, 0, 0, 0)),
        ("sitting", "kitten", EditCounts(1, 0, 2, 6)),
    ],
)
def test_by_hand(prediction, target, expected):
    assert count_edits(prediction, target) == expected


def test_rates_are_percentages_of_the_target_summed_first():
    total = count_edits("a", "ab") + count_edits("abcdefgh", "abcdefgh")
    assert total.cer == pytest.approx(10.0)  # not the mean of 50 and 0
    assert (total.ier, total.der, total.ser) == pytest.approx((0.0, 10.0, 0.0))
    assert math.isnan(EditCounts().cer)


def distance(a, b):
    """Levenshtein distance by its recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


sequences = st.lists(st.integers(0, 3), max_size=12)


@given(sequences, sequences)
def test_edits_are_a_shortest_script(prediction, target):
    edits = count_edits(prediction, target)
    assert edits.insertions + edits.deletions + edits.substitutions == distance(prediction, target)
    assert edits.insertions - edits.deletions == len(prediction) - len(target)
    assert edits.target == len(target)
