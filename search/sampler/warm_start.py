"""Trials of an earlier search, as a sampler of another space can learn from them.

A trial fits when the new space contains its configuration and its constraints hold. One that ended
by itself, on the same sessions and of as many epochs as the new space trains, counts as trained. It
is not trained again. With ``grid`` and ``quasirandom`` that holds for one that was cut off as well.
All others may be trained again. Those of other epochs are shown as pruned where they got to, since
their learning rate went another way.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from emgmodels.notation import notation
from emgmodels.sessions import Split
from search.results.folder import RunFolder
from search.results.reading import read_curves
from search.results.record import COMPLETE, FAILED, STOPPED, TrialRecord
from search.results.session_files import has_recordings
from search.sampler.samplers import POINTS
from search.space import OutsideError, Space
from search.space.objectives import objectives

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
    same_sessions: bool = True
    """Whether it was trained and validated on the sessions of the new one."""


def earlier_trials(space: Space, run: str | Path, split: Split) -> Earlier:
    """Return the trials of a run folder that fit a space.

    Args:
        space: the space.
        run: the run folder.
        split: the sessions that the space is to be searched on, told apart by whose they are,
            by their file names, and by what is in them.

    Raises:
        ValueError: it is not a run folder.
    """
    folder = RunFolder.open(Path(run))
    facts = folder.read_environment()
    used = facts.get("split", {})
    here = {"train": split.train, "val": split.val}
    found = Earlier(
        # Several people may have sessions of one name; old versions noted no subject.
        same_sessions=facts.get("subject", split.subject) == split.subject
        and all(
            # By name: the folder may be another one on this machine.
            {Path(path).name for path in used.get(part, ())} == {path.name for path in paths}
            for part, paths in here.items()
        )
        and has_recordings(facts, here)
    )
    records = folder.trials.values()
    curves: dict[int, dict[int, float]] = {}
    for row in read_curves(run).to_pylist():
        curves.setdefault(row["trial"], {})[row["epoch"]] = row["val_cer"]
    for record in records:
        if record.state == FAILED or record.number not in curves:
            found.left_out["no epoch was trained"] += 1
            continue
        try:
            trial = _fitted(space, record, curves[record.number], Path(run))
        except ValueError as error:
            found.left_out[str(error).splitlines()[0]] += 1
            continue
        if not found.same_sessions:
            trial.set_user_attr(TRAINED, False)
        found.trials.append(trial)
    return found


def _fitted(space: Space, record: TrialRecord, cers: dict[int, float], run: Path) -> FrozenTrial:
    """Return a trial, with its CER of every epoch, under the distributions of a space.

    Raises:
        ValueError: it does not fit; the message says why.
    """
    epochs = space.epochs
    config = record.config
    # The number of epochs is fixed in a space, so a trial of another number would fit none.
    training = config.training.model_copy(update={"epochs": epochs})
    fixed = optuna.trial.FixedTrial(
        space.params_of(config.model_copy(update={"training": training}))
    )
    fitted = space.suggest(fixed)
    # The parameters may lead to another configuration, where this space fixes what the other one
    # varied.
    if (fitted.model, fitted.training) != (config.model, training):
        raise OutsideError("its configuration", notation(config.model), "it in parts only")
    if (objection := space.violation(fitted)) is not None:
        raise ValueError(objection)
    # The learning rate follows the number of epochs, so a figure after 20 of 50 is not one of a
    # training of 20.
    same = config.training.epochs == epochs
    # It would suggest what was cut off again, in the same order.
    fixed_plan = space.search.sampler.name in POINTS
    facts: dict[str, Any] = {
        "params": fixed.params,
        "distributions": fixed.distributions,
        "user_attrs": {
            EARLIER: f"trial {record.number} of {run}",
            TRAINED: same and (fixed_plan or record.state in (COMPLETE, STOPPED)),
            "architecture": notation(config.model),
        },
        # Later epochs than this space trains would rank above all of its own trials.
        "intermediate_values": {epoch: cer for epoch, cer in cers.items() if epoch <= epochs},
    }
    if record.best is None or not math.isfinite(cers[max(cers)]):
        return optuna.create_trial(state=TrialState.PRUNED, constraints={"trainable": 1.0}, **facts)
    if same and record.epoch >= epochs:
        return optuna.create_trial(
            values=objectives(space, record.best["val_cer"], fitted), **facts
        )
    return optuna.create_trial(state=TrialState.PRUNED, **facts)
