"""Trials of an earlier search, as a sampler of another space can learn from them.

A trial fits when the new space contains its configuration and its constraints hold. One of as many
epochs as the new space trains counts as trained and is not trained again. One of other epochs is
shown as pruned where it got to, since its learning rate went another way, and may be trained again.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from emgmodels.config import Config
from emgmodels.factory import describe, notation
from search.results import FAILED, RunFolder, TrialRecord, read_curves
from search.space import OutsideError, Space

EARLIER = "earlier"
"""User attribute of a study's trial from another search: which search, and which trial of it."""
TRAINED = "trained"
"""User attribute of such a trial: whether it counts as trained here."""


@dataclass
class Earlier:
    """What of an earlier search fits a space."""

    trials: list[FrozenTrial] = field(default_factory=list)
    """As Optuna's study takes them, with the distributions of the space."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why the others do not fit, and how many."""


def earlier_trials(space: Space, run: str | Path) -> Earlier:
    """Return the trials of a run folder that fit a space.

    Raises:
        ValueError: it is not a run folder.
    """
    found = Earlier()
    records = RunFolder.open(Path(run)).trials.values()
    curves: dict[int, dict[int, float]] = {}
    for row in read_curves(run).to_pylist():
        curves.setdefault(row["trial"], {})[row["epoch"]] = row["val_cer"]
    for record in records:
        if record.state == FAILED or record.number not in curves:
            found.left_out["no epoch was trained"] += 1
            continue
        try:
            found.trials.append(_fitted(space, record, curves[record.number], Path(run)))
        except ValueError as error:
            found.left_out[str(error).splitlines()[0]] += 1
    return found


def objectives(space: Space, cer: float, config: Config) -> list[float]:
    """Return what a search minimises, in the order of ``search.objectives``."""
    summary = describe(config.model)
    known = {
        "val_cer": cer,
        "parameters": float(summary.parameters),
        "macs": summary.macs_per_second,
        # A model that sees its whole window waits for ever; Optuna compares finite numbers.
        "lookahead_ms": min(summary.lookahead_ms, 1e6),
    }
    return [known[name] for name in space.search.objectives]


def _fitted(space: Space, record: TrialRecord, cers: dict[int, float], run: Path) -> FrozenTrial:
    """Return a trial, with its CER of every epoch, under the distributions of a space.

    Raises:
        ValueError: it does not fit; the message says why.
    """
    epochs = space.training.plain()["epochs"]
    config = record.config
    training = config.training.model_copy(update={"epochs": epochs})
    fixed = optuna.trial.FixedTrial(
        space.params_of(config.model_copy(update={"training": training}))
    )
    fitted = space.suggest(fixed)
    if (fitted.model, fitted.training) != (config.model, training):
        raise OutsideError("its configuration", notation(config.model), "it in parts only")
    if (objection := space.violation(fitted)) is not None:
        raise ValueError(objection)
    same = config.training.epochs == epochs
    facts: dict[str, Any] = {
        "params": fixed.params,
        "distributions": fixed.distributions,
        "user_attrs": {
            EARLIER: f"trial {record.number} of {run}",
            TRAINED: same,
            "architecture": notation(config.model),
        },
    }
    if len(space.search.objectives) == 1:
        facts["intermediate_values"] = {
            epoch: cer for epoch, cer in cers.items() if epoch <= epochs
        }
    if record.best is None or not math.isfinite(cers[max(cers)]):
        return optuna.create_trial(state=TrialState.PRUNED, constraints={"trainable": 1.0}, **facts)
    if same and record.epoch >= epochs:
        return optuna.create_trial(
            values=objectives(space, record.best["val_cer"], fitted), **facts
        )
    return optuna.create_trial(state=TrialState.PRUNED, **facts)
