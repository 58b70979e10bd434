"""What the technical report published, and which trials of a run have the same architecture.

Agrawal, Sundaram, Sivakumar and Lu, "Predicting Keystrokes from Electromyography Signals" (UCLA),
measured these on subject 89335547 of emg2qwerty after 50 epochs, on sixteen electrodes a band
unless the notation says otherwise.
"""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

from emgmodels.notation import parse_notation
from search.report.display.table import Table
from search.report.display.words import lookahead, number
from search.report.run import Run, Trial

AUTHORS = "Agrawal, Sundaram, Sivakumar and Lu"
"""Of the technical report."""
TITLE = "Predicting Keystrokes from Electromyography Signals"
SUBJECT = "89335547"
EPOCHS = 50
BASELINE_PARAMETERS = 5_293_315


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
    Published(
        "conv:4 pretrained:12 @16ch",
        math.nan,
        math.nan,
        "GPT-2, first and last 1 or 2 layers trained: about as a transformer (2.2)",
    ),
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


@functools.lru_cache(maxsize=4)  # each drawn line asks
def scale(run: Run) -> int:
    """Return by what a run's layers are fewer than the report's: 1, or 2 in a small demo.

    A demo on synthetic data trains the report's architectures at half their depth.
    """
    # The demo is not told apart by its name, since a user may have copied its space.
    counts = {by: len(_matches(run, by)) for by in (1, 2)}
    return 2 if run.synthetic and counts[2] > counts[1] else 1


def scaled(architecture: str, by: int) -> str:
    """Return an architecture with its layers divided, at least one of each stage.

    >>> scaled("conv:4 transformer:2 @16ch", 2)
    'conv:2 transformer:1 @16ch'
    """
    return re.sub(r"(?<=:)\d+", lambda layers: str(max(1, int(layers[0]) // by)), architecture)


def compared(run: Run) -> list[tuple[Published, Trial]]:
    """Return the published architectures that a run trained, each with its best trial.

    None of a run on synthetic data: a typist's error rates and a program's don't compare.
    """
    return [] if run.synthetic else _matches(run, 1)


def side_by_side(run: Run) -> Table:
    """Return the published figures beside the run's, one row an architecture they share."""
    found = compared(run)
    cells: dict[str, list[str]] = {
        "architecture": [published.architecture for published, _ in found],
        "published val %": [number(published.val_cer) for published, _ in found],
        "published test %": [number(published.test_cer) for published, _ in found],
        "here val %": [number(trial.val_cer) for _, trial in found],
        "here test %": [number(trial.test_cer) for _, trial in found],
        "epochs": [f"{trial.epochs}/{trial.max_epochs}" for _, trial in found],
        "parameters": [f"{trial.parameters:,}" for _, trial in found],
        "look-ahead": [lookahead(trial.lookahead_ms) for _, trial in found],
        "trial": [f"{trial.number:03d}" for _, trial in found],
        "published with": [published.says for published, _ in found],
    }
    return Table.of(cells, left=("architecture", "published with"))


def basis(run: Run) -> str:
    """Say on which data either side was measured, and what is equal."""
    return (
        f"Published by {AUTHORS} ({TITLE}) on subject {SUBJECT} after {EPOCHS} epochs. Here: "
        f"{run.data}. Architectures have the same stages, order, cell, electrodes and layers; "
        f"widths and training may differ, and what stands here is the best of its trials."
    )


def as_published(run: Run, trial: Trial) -> bool:
    """Return whether a trial's front end and stages are of the kind that the report trained.

    On people's data the baseline also has its size.
    """
    try:
        model = parse_notation(trial.architecture)
    except ValueError:  # a stage of the user's own, which the report did not train
        return False
    stages = model.encoder.kinds()
    transformer, recurrent = model.encoder.transformer, model.encoder.recurrent
    conv, pretrained = model.encoder.conv, model.encoder.pretrained
    # Trials with the same stages but another kind of front end would be put beside figures that
    # they do not repeat.
    strange = (
        run.environment.get("start_from")  # other data than the report's trained it as well
        or model.share_bands
        or model.norm == "rolling"
        or model.features.filters != "fixed"
        or model.electrode_choice != "spaced"
        or (transformer and (transformer.width or transformer.positions != "sinusoidal"))
        or (transformer and (transformer.left_context, transformer.right_context) != (None, None))
        or (recurrent and not recurrent.bidirectional)
        or (conv and (conv.causal or len(conv.kernels) > 1))
        or (conv and len(set(conv.of_each("channels"))) > 1)
        or (pretrained and (pretrained.weights != "pretrained" or not pretrained.train_first))
    )
    if conv is not None and stages == ["conv"] and conv.layers == 4 and not run.synthetic:
        strange = strange or trial.parameters != BASELINE_PARAMETERS
    return not strange


def _matches(run: Run, by: int) -> list[tuple[Published, Trial]]:
    names = {scaled(published.architecture, by) for published in PUBLISHED}
    best: dict[str, Trial] = {}
    for trial in run.ranked:
        # Trials come best first, so the first one of an architecture stands for it. Reading its
        # notation takes long, for thousands of trials.
        if trial.label in names and trial.label not in best and as_published(run, trial):
            best[trial.label] = trial
    return [
        (published, best[scaled(published.architecture, by)])
        for published in PUBLISHED
        if scaled(published.architecture, by) in best
    ]
