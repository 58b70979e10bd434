"""Which test CER a report shows beside a trial: that of the weights the trial is ranked by."""

from __future__ import annotations

import math

import pytest

from search.evaluate.looks import looks
from search.report.tested import test_cer_of as cer_of
from search.results.record import Weights

RANKED = Weights(9, 16.91, "aa")


@pytest.mark.parametrize(
    ("weights", "ranked", "shown", "note"),
    [
        (Weights(9, 0.0, "aa"), RANKED, 34.66, None),
        (Weights(3, 0.0, "bb"), RANKED, math.nan, "is of other weights (epoch 3)"),
        (Weights(9, 0.0, "bb"), RANKED, math.nan, "is of other weights (epoch 9)"),
        (Weights(9, 0.0, "aa"), Weights(9, 16.91), 34.66, None),
        (Weights(3, 0.0, "aa"), Weights(9, 16.91), math.nan, "is of other weights (epoch 3)"),
        (Weights(0, 0.0), RANKED, 34.66, "is of unknown weights"),
    ],
    ids=["the same", "others", "trained again", "search of old", "its others", "unknown"],
)
def test_a_test_cer_is_shown_beside_its_own_weights(weights, ranked, shown, note):
    found, notes = cer_of(13, ranked, [(34.66, weights)])
    assert found == pytest.approx(shown, nan_ok=True)
    assert [note in each for each in notes] == [True] * (note is not None)


def test_the_figure_of_the_ranked_weights_wins_over_stale_ones():
    tested = [(39.0, Weights(3, 0.0, "bb")), (34.66, Weights(9, 0.0, "aa")), (1.0, Weights(0, 0.0))]
    assert cer_of(13, RANKED, tested) == (34.66, [])


@pytest.mark.parametrize("text", ["{}", "5", "null", '["a look"]', "[", "\xff"])
def test_what_is_known_of_looks_is_never_taken_for_nothing(tmp_path, text):
    """Else the next evaluation would write over it."""
    assert looks(tmp_path) == []
    (tmp_path / "evaluation.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"evaluation\.json: (is not JSON|must be a JSON list)"):
        looks(tmp_path)
