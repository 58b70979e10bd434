"""Optuna's TPE, whose groups of parameters are split by new trials only: the same, but sooner."""

from __future__ import annotations

import types
from typing import Any

import optuna
from optuna.search_space.group_decomposed import (
    _GroupDecomposedSearchSpace,
    _SearchSpaceGroup,
)


class Tpe(optuna.samplers.TPESampler):
    """TPE with a model for each group of parameters that stand together in trials.

    Constant liar: trials that run side by side are not suggested twice.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, multivariate=True, group=True, constant_liar=True)
        self._group_decomposed_search_space = _Groups()


class _Groups(_GroupDecomposedSearchSpace):
    """Groups of parameters that are split further by trials that it has not seen, and by no others.

    A trial whose parameters have split the groups once never splits them again. Optuna asks all
    trials at each suggestion.
    """

    def __init__(self) -> None:
        super().__init__(include_pruned=True)
        self._asked: set[int] = set()

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """Return the groups."""

        def fresh(**options: Any) -> list[optuna.trial.FrozenTrial]:
            found = [
                trial for trial in study._get_trials(**options) if trial.number not in self._asked
            ]
            self._asked.update(trial.number for trial in found if trial.state.is_finished())
            return found

        view: Any = types.SimpleNamespace(_study_id=study._study_id, _get_trials=fresh)
        return super().calculate(view, use_cache)
