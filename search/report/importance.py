"""Which searched settings decide whether a trial ranks among the best: PED-ANOVA.

Watanabe et al. 2023, arXiv:2304.10255, in Optuna's version for settings that exist only beside
others. It needs no regression forest, looks at ranks alone, and so serves a search that stopped
most of its trials early.
"""

from __future__ import annotations

import functools
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from search.report.display.plot import NothingToDrawError
from search.report.run import Run

LEAST_TRIALS = 12
"""Ranked trials below which importance would be noise."""
LEAST_BEST = 5
"""Trials that "the best" are at least; PED-ANOVA's authors advise as many."""
BEST_SHARE = 0.25
"""Share of trials that are the best. A tenth, which is usual, names the wrong setting in a search
of 40 trials that one setting decides."""
_SHUFFLES, _LEAST_SHUFFLES = 40, 16
_SHUFFLED = 16_000
"""Trials in all shuffled rankings together, about: of many trials, fewer rankings say the same."""
_CHANCE = 0.95


class Importance(NamedTuple):
    """How much a setting tells the best trials from all others."""

    name: str
    share: float
    """Of the importance of all settings (0 to 1)."""
    chance: float
    """What 95 % of random rankings of the same trials stay below, on the same scale."""


# Three figures ask for it, and it evaluates many shuffled rankings.
@functools.lru_cache(maxsize=4)
def importances(run: Run) -> list[Importance]:
    """Return the importance of every searched setting, highest first.

    Raises:
        NothingToDrawError: there are too few trials, or no journal; the message says so in words.
    """
    # Ranks and not CERs: most trials were stopped early, and how far their CERs are apart says
    # little.
    order = {trial.number: trial.rank for trial in run.ranked}
    if len(order) < LEAST_TRIALS:
        raise NothingToDrawError(
            f"importance needs at least {LEAST_TRIALS} trials with a validation CER, and this run "
            f"has {len(order)}"
        )
    suggested = [trial for trial in _suggested(run.path) if trial.number in order]
    if len(suggested) < LEAST_TRIALS:
        raise NothingToDrawError(
            f"importance needs the study's journal, {run.path / 'study.journal'}"
        )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_share(len(order)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        optuna.trial.create_trial(params=each.params, distributions=each.distributions, value=0.0)
        for each in suggested
    )
    ranks = np.array([order[trial.number] for trial in suggested], dtype=float)
    found = _evaluate(evaluator, study, ranks)
    total = sum(found.values())
    if not total:
        raise NothingToDrawError("importance can't be told: the best trials look like all others")
    rng = np.random.default_rng(run.space.search.seed)
    # With few trials some setting always seems to matter. Random rankings show how much of that
    # is chance.
    shuffles = min(_SHUFFLES, max(_LEAST_SHUFFLES, _SHUFFLED // len(ranks)))
    chances = [_evaluate(evaluator, study, rng.permutation(ranks)) for _ in range(shuffles)]
    return [
        Importance(
            name,
            value / total,
            float(np.quantile([chance[name] for chance in chances], _CHANCE)) / total,
        )
        for name, value in sorted(found.items(), key=lambda item: -item[1])
    ]


def best_count(trials: int) -> int:
    """Return how many of ``trials`` are the best that the others are compared with."""
    return math.ceil(_share(trials) * trials)


def _share(trials: int) -> float:
    return max(BEST_SHARE, LEAST_BEST / trials)


def _suggested(path: Path) -> list[FrozenTrial]:
    """Return the study's trials; the journal is only read, since a search may be writing to it."""
    journal = path / "study.journal"
    if not journal.is_file():
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Nothing is written here, so Optuna's own backend will do.
    backend = JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    [study] = storage.get_all_studies()
    return storage.get_all_trials(study._study_id, deepcopy=False)


def _evaluate(
    evaluator: PedAnovaImportanceEvaluator, study: optuna.Study, ranks: np.ndarray
) -> dict[str, float]:
    """Return the importance of each setting where the study's trials rank like this.

    The study is made once and ranks are told by a function: adding trials to a study costs more
    than evaluating them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of regimes with few trials, which count for little
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: ranks[trial.number], normalize=False
        )
    merged: dict[str, float] = {}
    for name, value in found.items():
        # An order of other stages is a parameter of its own: order[recurrent conv].
        setting = name.partition("[")[0]
        merged[setting] = merged.get(setting, 0.0) + value
    return merged
