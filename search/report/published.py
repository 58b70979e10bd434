"""What the technical report published, and which trials of a run have the same architecture.

Agrawal, Sundaram, Sivakumar and Lu, "Predicting Keystrokes from Electromyography Signals" (UCLA),
measured these on subject 89335547 of emg2qwerty after 50 epochs, on sixteen electrodes a band
unless the notation says otherwise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from search.report.runs import Run, Trial, lookahead, number
from search.report.tables import Table

SUBJECT = "89335547"
EPOCHS = 50


class Published(NamedTuple):
    """One architecture of the technical report."""

    architecture: str
    """Compact notation: stages, order, layers, cell, electrodes; the report gives no widths."""
    val_cer: float
    """Validation CER (%); NaN where the report has no number."""
    test_cer: float
    """Test CER (%); NaN where the report has no number."""
    says: str
    """What the report says of it, and where."""


PUBLISHED = (
    Published("conv:4 @16ch", 20.69, math.nan, "baseline (section 3)"),
    Published("conv:4 transformer:2 @16ch", 18.18, math.nan, "best of its family (section 3)"),
    Published("conv:4 transformer:4 @16ch", math.nan, math.nan, "about as 2 layers (2.1)"),
    Published("conv:2 transformer:2 @16ch", math.nan, math.nan, "worse than 4 conv (2.1)"),
    Published("conv:6 transformer:2 @16ch", math.nan, math.nan, "worse than 4 conv (2.1)"),
    Published("conv:8 transformer:2 @16ch", math.nan, math.nan, "worse than 4 conv (2.1)"),
    Published("lstm:4 @16ch", math.nan, math.nan, "drawn only (figures 3, 4)"),
    Published("lstm:4 conv:2 @16ch", 19.74, math.nan, "section 3, figures 3, 4"),
    Published(
        "lstm:4 conv:4 @16ch",
        17.39,
        19.4,
        "val also given as 17.31 and 17.32; 19.4 is called training CER (section 3)",
    ),
    Published("conv:4 lstm:4 @16ch", math.nan, math.nan, "drawn only (figures 3, 4)"),
    Published("gru:4 @16ch", math.nan, math.nan, "test within 0.10 of val (4.2)"),
    Published("gru:4 conv:4 @16ch", 16.30, math.nan, "section 3, figures 5, 6"),
    Published("transformer:2 lstm:4 conv:4 @16ch", 19.74, math.nan, "section 3, figures 7, 8"),
    Published("transformer:2 gru:4 conv:4 @16ch", 15.11, 17.63, "best of all (section 3)"),
    Published("transformer:2 gru:4 conv:4 @8ch", math.nan, math.nan, "worse than 16 (figure 9)"),
    Published("transformer:2 gru:4 conv:4 @4ch", math.nan, math.nan, "worse than 8 (figure 9)"),
)
"""Every architecture of the report that the compact notation can name."""


def matches(run: Run) -> list[tuple[Published, Trial]]:
    """Return the published architectures that a run trained, each with its best trial."""
    best: dict[str, Trial] = {}
    for trial in run.ranked:
        best.setdefault(trial.label, trial)
    return [
        (published, best[published.architecture])
        for published in PUBLISHED
        if published.architecture in best
    ]


def side_by_side(run: Run) -> Table:
    """Return the report's figures beside the run's, one row an architecture they share."""
    headers = ["architecture", "report val %", "report test %", "our val %", "our test %"]
    headers += ["epochs", "parameters", "look-ahead", "trial", "the report says"]
    rows = [
        [
            published.architecture,
            number(published.val_cer),
            number(published.test_cer),
            number(trial.val_cer),
            number(trial.test_cer),
            f"{trial.epochs}/{trial.max_epochs}",
            f"{trial.parameters:,}",
            lookahead(trial.lookahead_ms),
            f"{trial.number:03d}",
            published.says,
        ]
        for published, trial in matches(run)
    ]
    return Table(headers, rows, left=("architecture", "the report says"))


def basis(run: Run) -> str:
    """Say on which data either side was measured."""
    if run.synthetic:
        ours = (
            "synthetic data, so its numbers say nothing about people and compare among themselves"
        )
    else:
        ours = run.data
    return (
        f"Report: subject {SUBJECT}, {EPOCHS} epochs. Ours: {ours}. Architectures are equal in "
        f"stages, order, layers, cell and electrodes; widths and training may differ, and ours is "
        f"the best of its trials."
    )
