"""What a sampler is shown of trials that were stopped, or are still under way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.halving.rungs import aligned_epochs, resolve
from search.space import Space
from search.space.objectives import objectives

Shown = Callable[[FrozenTrial], FrozenTrial]
"""Returns a trial of the study as the sampler is to see it."""

# A finite value, because samplers of complete trials cannot take infinity.
_NOTHING_READ = 100.0
"""CER (%) of an empty text: what a trial stands at whose training diverged or failed."""


def shown_to(sampler: BaseSampler, space: Space) -> Shown:
    """Return how trials are shown to a sampler.

    Of one objective TPE ranks pruned trials itself: by how far they came, then by their CER there.
    All else takes complete trials only, and most trials of a search are stopped.
    """
    # Shown as complete, a trial that was stopped early would look worse than it is: TPE compares
    # it at the epoch where it stopped. Where rungs count what epochs cost, a fast architecture has
    # more epochs at each rung, and would look better than it is.
    by_epochs = space.search.scheduler.resource in (None, "epochs")
    one = len(space.search.objectives) == 1
    if isinstance(sampler, optuna.samplers.TPESampler) and one and by_epochs:
        return AsPruned()
    return AsComplete(space, constraints=not isinstance(sampler, optuna.samplers.GPSampler))


class AsPruned:
    """Shows trials under way as pruned where they have got to, any other as it is."""

    def __init__(self) -> None:
        self._ended: dict[int, FrozenTrial] = {}

    def __call__(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as it is shown."""
        if trial.number in self._ended:
            return self._ended[trial.number]
        if trial.state == TrialState.RUNNING and trial.intermediate_values:
            # The study's own trial must stay under way, since it is told its end later.
            trial = copy.copy(trial)
            trial.state = TrialState.PRUNED
        elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            trial = self._ended[trial.number] = _Ended.of(trial)
        return trial


class _Ended(FrozenTrial):
    """A trial that does not change any more, of which is looked up once what TPE often asks.

    For each group of parameters it sorts all trials in view by value, and looks for the infeasible
    ones: Optuna works both out anew, which took a third of a suggestion.
    """

    constraints: dict[str, float] = {}  # noqa: RUF012 - each has its own
    value: float | None = None

    @classmethod
    def of(cls, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial that has ended, quick to ask."""
        found = cls.__new__(cls)
        found.__dict__.update(trial.__dict__)
        found.constraints = trial.constraints
        found.value = trial.value if trial.values else None
        return found


class AsComplete:
    """Shows stopped trials as complete with their lowest CER so far, and those that diverged.

    Trials under way too, paused ones among them, from the epoch on at which trials are first
    compared: what comes before says little, and a generation of ``nsga2`` or ``cmaes`` is judged
    once.
    """

    def __init__(self, space: Space, constraints: bool) -> None:
        """Show trials of a space.

        Args:
            space: the space.
            constraints: show which ones diverged or failed as infeasible too. ``gp`` takes
                constraints of all trials or of none.
        """
        self._space, self._constraints = space, constraints
        self._since = _first_comparison(space)
        self._place = space.search.objectives.index("val_cer")
        self._known: dict[int, list[float]] = {}
        self._ended: dict[int, FrozenTrial] = {}

    def __call__(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as it is shown."""
        if trial.number in self._ended:
            return self._ended[trial.number]
        ended = trial.state == TrialState.PRUNED
        # Most trials of a search are paused most of the time. Without them the sampler would be
        # random until the search ends.
        far = trial.state == TrialState.RUNNING and (trial.last_step or 0) >= self._since
        infeasible = max(trial.constraints.values(), default=0.0) > 0
        cers = filter(math.isfinite, trial.intermediate_values.values())
        cer = _NOTHING_READ if infeasible else min(cers, default=math.inf)
        if not (ended or far) or math.isinf(cer):
            return trial
        shown = copy.copy(trial)
        shown.state, shown.values = TrialState.COMPLETE, self._values(trial, cer)
        # GPSampler refuses a study in which some trials have constraints and others have none.
        if infeasible and not self._constraints:
            shown.system_attrs = {}
        if ended:
            # An ended trial does not change any more, and the sampler asks for all of them at
            # each suggestion.
            self._ended[trial.number] = shown
        return shown

    def _values(self, trial: FrozenTrial, cer: float) -> list[float]:
        if len(self._space.search.objectives) == 1:
            return [cer]
        if trial.number not in self._known:
            config = self._space.suggest(optuna.trial.FixedTrial(trial.params))
            self._known[trial.number] = objectives(self._space, cer, config)
        # The costs of an architecture never change, and counting its parameters takes a
        # millisecond.
        values = self._known[trial.number].copy()
        values[self._place] = cer
        return values


def _first_comparison(space: Space) -> int:
    """Return the first epoch at which a search compares trials; the last where it never does."""
    scheduler, aligned = space.search.scheduler, aligned_epochs(space.training.plain())
    if scheduler.resource not in (None, "epochs"):
        return 1  # a slow architecture's first epoch may reach the first rung
    return int(resolve(scheduler.name, space.epochs, aligned, **scheduler.options).grace)
