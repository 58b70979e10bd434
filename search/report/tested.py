"""Test CERs of an evaluated search, each with the weights that it was measured with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from search.results.growing_tables import read_parquet
from search.results.record import Weights


def tested_by_trial(path: Path) -> dict[int, list[tuple[float, Weights]]]:
    """Return the test CERs (%) of each evaluated trial, with the weights that read."""
    if not (path / "evaluation.parquet").is_file():
        return {}
    found: dict[int, dict[Weights, float]] = defaultdict(dict)
    for row in read_parquet(path / "evaluation.parquet").to_pylist():
        if row.get("test_cer") is not None:
            weights = Weights(row.get("epoch") or 0, 0.0, row.get("weights") or "")
            found[row["trial"]][weights] = row["test_cer"]
    return {
        number: [(cer, weights) for weights, cer in each.items()] for number, each in found.items()
    }


def test_cer_of(
    number: int, ranked: Weights | None, tested: Sequence[tuple[float, Weights]]
) -> tuple[float, list[str]]:
    """Return the test CER (%) of the weights that a trial is ranked by, and why others are not."""
    notes = []
    for cer, weights in tested:
        if ranked and weights.epoch and not weights.are_others(ranked):
            return cer, []
    test_cer = math.nan
    for cer, weights in tested:
        if not weights.epoch and not weights.hash:
            test_cer = cer
            notes.append(
                f"trial {number:03d}: its test CER of {cer:.2f} % is of unknown weights, since an "
                f"earlier version measured it: evaluate it again"
            )
        else:
            of = f" (epoch {weights.epoch})" if weights.epoch else ""
            notes.append(
                f"trial {number:03d}: a test CER of {cer:.2f} % is left out: it is of other "
                f"weights{of} than the trial is ranked by: evaluate it again"
            )
    return test_cer, notes
