"""The one model of a trial's row: what every table says of a trial, running or read from disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from emgmodels.notation import brief_notation, parse_notation
from search.halving.ending import Ending
from search.results.growing_tables import USER_RATES
from search.results.record import TrialRecord, Weights, ending_in, kept_note


@dataclass(frozen=True, eq=False, kw_only=True)
class TrialRow:
    """What is known of a trial, in the units in which the trials table holds it."""

    number: int
    rank: int
    architecture: str
    """Compact notation, whole."""
    val_cer: float
    """Lowest validation CER (%), NaN where there is none."""
    val_cer_low: float
    """Lower end of its 95 % bootstrap interval over validation windows (%), NaN where unknown."""
    val_cer_high: float
    """Upper end (%)."""
    val_cer_pooled: float = math.nan
    """Validation CER of all windows together (%), NaN where unknown; ``val_cer`` ranks."""
    val_cer_mean_user: float = math.nan
    """Mean over users (%)."""
    val_cer_sd_user: float = math.nan
    """Standard deviation over users (points); NaN: there is one user."""
    val_cer_worst_user: float = math.nan
    """That of the user who is read worst (%)."""
    val_loss: float = math.nan
    """Validation loss of its last epoch; NaN: no epoch yet, or only the curves have it."""
    ranked: Weights | None
    """The weights of its best epoch, by which it is ranked; None: it has none yet."""
    kept: Weights | None
    """The weights in its checkpoint; None: none was kept, or it is not known."""
    epochs: int
    max_epochs: int
    state: str
    ending: Ending | None
    """Why it ended; None while it trains."""
    parameters: int
    macs_per_second: float
    lookahead_ms: float
    electrodes: int
    """Of all bands together."""
    seconds: float
    test_cer: float = math.nan
    """Test CER (%) of the weights it is ranked by, where they were evaluated, else NaN."""
    on_front: bool = False
    """Whether no other trial beats it in all objectives, of a search that has several."""

    @property
    def label(self) -> str:
        """Compact notation without settings: stages, order, layers, cell, electrodes."""
        return _brief_and_electrodes(self.architecture)[0]

    @property
    def name(self) -> str:
        """Number and architecture, as everywhere a person meets a trial."""
        return f"{self.number:03d} {self.label}"

    @property
    def reason(self) -> str:
        """Why it ended, in words; empty while it trains."""
        return str(self.ending or "")

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the weights that it is ranked by."""
        return self.ranked.epoch if self.ranked else None

    @property
    def kept_epoch(self) -> int | None:
        """Epoch of the weights in its checkpoint."""
        return self.kept.epoch if self.kept else None

    @property
    def kept_note(self) -> str | None:
        """In words, where its checkpoint has other weights than it is ranked by."""
        return kept_note(self.number, self.ranked, self.kept)


def facts_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a ``TrialRow`` that a row of the trials table has.

    What older versions did not write is missing there, and unknown here.
    """
    known = ("val_cer", "val_cer_low", "val_cer_high", *USER_RATES)
    cers = {name: row.get(name) for name in known}
    ranked = kept = None
    if row["best_epoch"]:
        ranked = Weights(row["best_epoch"], row["val_cer"], row.get("weights") or "")
    if row.get("kept_epoch"):
        kept = Weights(row["kept_epoch"], row["kept_cer"])
    same = ("rank", "architecture", "epochs", "state", "parameters", "macs_per_second")
    return {
        "number": row["trial"],
        **{name: math.nan if cer is None else cer for name, cer in cers.items()},
        **{name: row[name] for name in (*same, "lookahead_ms", "seconds")},
        "ranked": ranked,
        "kept": kept,
        "max_epochs": row["training.epochs"],
        "ending": ending_in(row),
        "electrodes": _brief_and_electrodes(row["architecture"])[1],
    }


@lru_cache(maxsize=4096)
def _brief_and_electrodes(architecture: str) -> tuple[str, int]:
    """Return an architecture in brief, and its electrodes; a live table asks twice a second."""
    *_, electrodes = architecture.split(" ")  # stages of the user's own are not known here
    return brief_notation(architecture), _electrodes(electrodes)


@lru_cache(maxsize=64)
def _electrodes(text: str) -> int:
    """Return the electrodes of all bands that ``@16ch`` stands for."""
    model = parse_notation(text)
    return model.bands * model.electrodes


def rows_of(ranking: Sequence[TrialRecord], front: Iterable[int] = ()) -> list[TrialRow]:
    """Return the rows of trials as they stand now, of which the table may not know yet.

    Args:
        ranking: all of them or the first ones, best first.
        front: numbers of those on the Pareto front of several objectives.
    """
    marked = set(front)
    rows = []
    for rank, trial in enumerate(ranking, start=1):
        epochs = trial.config.training.epochs
        row = {**trial.facts(), "rank": rank, "training.epochs": epochs}
        loss = trial.curve[-1]["val_loss"] if trial.curve else math.nan
        on_front = trial.number in marked
        rows.append(TrialRow(**facts_of(row), val_loss=loss, on_front=on_front))
    return rows
