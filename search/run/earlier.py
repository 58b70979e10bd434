"""Takes the trials of earlier searches into a new one, and says what becomes of them."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import FrozenTrial
from rich.console import Console

from emgmodels.saying import counted
from emgmodels.sessions import Split
from search.report.display.words import say
from search.results.people import scoring_of
from search.sampler.samplers import CANNOT_LEARN
from search.sampler.warm_start import TRAINED, earlier_trials
from search.space import Space

_REASONS = 15
"""Reasons for leaving trials out that are shown at most."""


def learn(space: Space, run: str | Path, split: Split, console: Console) -> list[FrozenTrial]:
    """Return the trials of an earlier search that fit a space, and say how many do not.

    Raises:
        ValueError: it is not a run folder.
    """
    found = earlier_trials(space, run, split)
    fit, total = len(found.trials), len(found.trials) + found.left_out.total()
    sampler = space.search.sampler.name
    if sampler not in CANNOT_LEARN:
        say(console, f"Learning from {fit} of {counted(total, 'trial')} of {run}")
    else:
        kept = sum(trial.user_attrs[TRAINED] for trial in found.trials)
        say(
            console,
            f"{run}: {fit} of its {counted(total, 'trial')} fit this space; {kept} are not trained "
            f"again. "
            f"The sampler {sampler} learns nothing from them; tpe would: --set search.sampler=tpe",
        )
    for reason, count in found.left_out.most_common(_REASONS):
        say(console, f"    {count} left out: {reason}", hanging=6)
    if not found.same_sessions:
        say(
            console,
            f"note: {run} was trained or validated on other sessions: its CERs are taken as they "
            f"are, and its configurations may be trained again",
        )
    there, here = scoring_of(Path(run)), space.search.rank_by or "pooled"
    if (ranked := there.by if there else "pooled") != here:
        say(
            console,
            f"note: {run} ranked by search.rank_by {ranked}, this search by {here}: its CERs are "
            f"taken as they are",
        )
    return found.trials
