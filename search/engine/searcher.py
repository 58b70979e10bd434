"""The searcher that Ray Tune asks for trials and tells how they went."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from emgmodels.config import Config
from emgmodels.notation import notation
from emgmodels.saying import counted
from search.sampler.samplers import POINTS, make_sampler, planned_points, trial_seed
from search.sampler.study import RAY_TRIAL, SearchStudy, open_study, training_key
from search.sampler.warm_start import EARLIER, TRAINED
from search.space import SearchConfig, Space
from search.space.draws import RandomDraw
from search.space.objectives import objectives

SKIPPED = "skipped"
"""User attribute of a suggestion that was not trained: why."""

_TRIES = 20
_RANDOM_TRIES = 2000


class OptunaSampler(Searcher):
    """Suggests configurations of a space to Ray Tune and tells Optuna how they ended.

    Attributes:
        exhausted: why there are no more suggestions although more trials were asked for, or None.
        known: numbers of the trials in Ray's snapshot, for ``restore``; None: as it saved them.
    """

    known: Collection[int] | None = None

    def __init__(
        self,
        space: Space,
        journal: str | Path | None = None,
        earlier: Sequence[FrozenTrial] = (),
    ) -> None:
        """Sample a space.

        Args:
            space: the space; its ``search`` section says how.
            journal: Optuna's journal file; an existing one is continued. None: in memory.
            earlier: trials of other searches, for a new study to begin with.

        Raises:
            ValueError: the sampler needs a package that is not installed.
        """
        super().__init__(metric="val_cer", mode="min")
        self.space = space
        self.journal = None if journal is None else Path(journal).absolute()
        self.exhausted: str | None = None
        self._sampler = make_sampler(space.search)
        self._opened: SearchStudy | None = None
        self._running: dict[str, _Running] = {}
        # Equal architectures are equal configurations, so a hash finds a duplicate whichever
        # parameters led to it.
        self._numbers: dict[bytes, int] = {}
        self._trainings: Counter[bytes] = Counter()
        self._earlier = earlier
        self._trained_earlier: dict[bytes, str] = {}
        self._lost: deque[FrozenTrial] = deque()
        self._plan: Iterator[dict[str, Any]] = iter(())

    # Ray pickles the searcher into its snapshots. The journal has everything else, so only what
    # opens it again travels.
    def __reduce__(self) -> tuple[type[OptunaSampler], tuple[Space, Path | None]]:
        return OptunaSampler, (self.space, self.journal)

    @property
    def settings(self) -> SearchConfig:
        """How the space is searched."""
        return self.space.search

    @property
    def trials(self) -> int:
        """Trials that the search is to train."""
        return self.space.search.trials * self.space.search.repeats

    @property
    def handed_out(self) -> int:
        """Trials that Ray has of this search, without those that never began."""
        return self._trainings.total() - len(self._lost)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """Return the next configuration for Ray Tune.

        Returns:
            ``config``: a ``Config`` with its own seed, as JSON (of a mapping Ray would keep a dozen
            statistics for each number); ``number``: of the trial in the study; ``seed``. Or
            ``Searcher.FINISHED``.
        """
        study = self._study()
        with study.together():
            return self._suggest(study, trial_id)

    def rest(self) -> None:
        """Let the study say that what has not ended waits: the search is over, or goes on later."""
        if self._opened is not None:  # what never opened it has left nothing under way
            self._opened.rest()

    def _suggest(self, study: SearchStudy, trial_id: str) -> dict[str, Any] | str:
        # First the trials that Ray forgot: their numbers, and so their seeds, come before new
        # ones. So a killed search trains what an uninterrupted one trains.
        if self._lost:
            return self._suggest_again(study, self._lost.popleft(), trial_id)
        enough = len(self._numbers) >= self.space.search.trials
        found = (None if enough else self._next(study)) or self._again(study)
        if found is None:
            return Searcher.FINISHED
        trial, config = found
        trial.set_user_attr(RAY_TRIAL, trial_id)
        trial.set_user_attr("architecture", notation(config.model))
        self._numbers.setdefault(training_key(config), trial.number)
        self._trainings[training_key(config)] += 1
        self._running[trial_id] = _Running(trial, config.training.epochs)
        return self._suggestion(config, trial.number)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the validation CER of an epoch."""
        if (running := self._running.get(trial_id)) is not None:
            self._record(running, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; Ray hands its last result to this method only."""
        study = self._study()
        if (running := self._running.pop(trial_id, None)) is None:
            return
        if result is not None:
            self._record(running, result)
        trial, values = running.trial, running.values
        if not error and not values and result is None:
            _skip(study, trial, "it did not begin")  # a longer search may suggest it again
        # It counts as infeasible, so samplers avoid its neighbourhood. As a failed trial it would
        # teach them nothing.
        elif error or math.isinf(running.best) or (result is not None and _diverged(result)):
            trial.set_constraint("trainable", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        # The scheduler stopped it: TPE ranks pruned trials by how far they came.
        elif max(values) < running.epochs:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, self._values(running))

    def save(self, checkpoint_path: str) -> None:
        """Write what the journal does not hold: the sampler's state, and which trials run."""
        study = self._study()
        state = {
            "known": {x.number for x in study.recorded()} - {x.number for x in self._lost},
            # Samplers that learn have a random generator that has moved on. The journal does not
            # hold its state.
            "sampler": study.sampler,
            "trials": None if self.journal is not None else study.recorded(),
        }
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Go on from ``save`` and the journal.

        Trials in the journal that Ray does not know come next, under the numbers that they had.
        """
        state = pickle.loads(Path(checkpoint_path).read_bytes())
        self._sampler = state["sampler"]
        known = state["known"] if self.known is None else self.known
        self._open(known, state["trials"] or ())

    def begin_again(self) -> None:
        """Go on from the journal of a search that ended before its first trial began.

        What it had suggested comes again, under the numbers that it had.
        """
        self._open(known=())

    def _study(self) -> SearchStudy:
        """Return the study, opened at first use."""
        if self._opened is None:
            self._open()
            assert self._opened is not None
            if known := len(self._opened.recorded()):
                # Another sequence than the one that the journal's trials came from.
                # With the first seed again, a sampler would suggest again what the journal has
                # already.
                seed = trial_seed(self.space.search.seed, known)
                search = self.space.search.model_copy(update={"seed": seed})
                self._opened.sampler = make_sampler(search)
        return self._opened

    def _open(
        self, known: Collection[int] | None = None, trials: Sequence[FrozenTrial] = ()
    ) -> None:
        """Open the study, add trials to it, and take up those it has.

        Args:
            known: numbers of the trials that Ray knows, which go on; it has lost all others. None:
                another search suggested them, and what had not ended is given up.
            trials: to add.
        """
        study = self._opened = open_study(self.space, self.journal, self._sampler)
        study.wake()
        study.add_trials(trials if trials or study.recorded() else self._earlier)
        self._running, self._numbers, self._trainings = {}, {}, Counter()
        self._lost = deque()
        started = []
        for frozen in study.recorded():
            trial_id = frozen.user_attrs.get(RAY_TRIAL)
            lost = trial_id is not None and known is not None and frozen.number not in known
            unfinished = frozen.state == TrialState.RUNNING
            # A trial that nobody will end would stay under way in the study for ever, and
            # samplers would wait for it.
            if unfinished and (trial_id is None or known is None):
                _skip(study, optuna.Trial(study, frozen._trial_id), "its search was killed")
            # Trials of an earlier search do not count among those that this search is to train.
            elif frozen.user_attrs.get(TRAINED):
                key = training_key(self._recorded(frozen))
                self._trained_earlier[key] = frozen.user_attrs[EARLIER]
            elif trial_id is not None and SKIPPED not in frozen.user_attrs:
                config = self._recorded(frozen)
                self._numbers.setdefault(training_key(config), frozen.number)
                self._trainings[training_key(config)] += 1
                started.append(frozen.system_attrs.get("fixed_params"))
                if lost:
                    self._lost.append(frozen)
                elif unfinished:
                    self._take_up(study, frozen, config, trial_id)
        starts = (params for params in self.space.start_points() if params not in started)
        # Start points come first, so that a short budget ranks them too.
        self._plan = itertools.chain(starts, planned_points(self.space))

    def _take_up(
        self, study: SearchStudy, frozen: FrozenTrial, config: Config, trial_id: str
    ) -> None:
        """Go on with a trial that did not end."""
        values, trial = dict(frozen.intermediate_values), optuna.Trial(study, frozen._trial_id)
        epochs, best = config.training.epochs, _lowest(*values.values())
        self._running[trial_id] = _Running(trial, epochs, values, best)

    def _suggest_again(
        self, study: SearchStudy, frozen: FrozenTrial, trial_id: str
    ) -> dict[str, Any]:
        """Suggest a trial that Ray has forgotten; what is told of it already stays."""
        config = self._recorded(frozen)
        if frozen.state == TrialState.RUNNING:
            self._take_up(study, frozen, config, trial_id)
            self._running[trial_id].trial.set_user_attr(RAY_TRIAL, trial_id)
        return self._suggestion(config, frozen.number)

    def _suggestion(self, config: Config, number: int) -> dict[str, Any]:
        seed = trial_seed(self.space.search.seed, number)
        config = config.model_copy(update={"name": f"{self.space.name}-{number}", "seed": seed})
        return {"config": config.model_dump_json(), "number": number, "seed": seed}

    def _next(self, study: SearchStudy) -> tuple[optuna.Trial, Config] | None:
        """Return a configuration to train: planned, else the sampler's, else a random one."""
        tried = len(self._numbers) + len(self._trained_earlier)
        if self.space.size is not None and tried >= self.space.size:
            all_of_it = counted(self.space.size, "configuration")
            self.exhausted = f"all {all_of_it} of the space were suggested"
            return None
        for params in self._plan:
            whole = self._whole(params)
            if whole is not None and self._objection(whole) is not None:
                continue
            if (found := self._ask(study, params, 1 if whole else _TRIES)) is not None:
                return found
        if self.space.search.sampler.name not in POINTS:
            if (found := self._ask(study, None, _TRIES)) is not None:
                return found
            if (found := self._ask_random(study)) is not None:
                return found
        self.exhausted = (
            f"after {counted(len(self._numbers), 'trial')}, further suggestions were all trained "
            f"already or break a constraint"
        )
        return None

    def _again(self, study: SearchStudy) -> tuple[optuna.Trial, Config] | None:
        """Return the configuration that was trained least often, for another seed."""
        repeats = self.space.search.repeats
        if repeats == 1 or not self._trainings:
            return None
        # Every suggestion is trained once before any is trained twice, so a search that is cut
        # off has compared all.
        key, times = min(self._trainings.items(), key=lambda item: item[1])
        if times >= repeats:
            return None
        study.enqueue_trial(study.recorded()[self._numbers[key]].params)
        trial = study.ask()
        return trial, self.space.suggest(trial)

    def _ask(
        self, study: SearchStudy, params: dict[str, Any] | None, tries: int
    ) -> tuple[optuna.Trial, Config] | None:
        """Ask the study, with some parameters given or none, until the answer can be trained."""
        for _ in range(tries):
            if params is not None:
                study.enqueue_trial(params)
            trial = study.ask()
            try:
                config = self.space.suggest(trial)
            except ValueError as error:
                _skip(study, trial, str(error))
                continue
            if (objection := self._objection(config)) is None:
                return trial, config
            _skip(study, trial, objection)
        return None

    def _ask_random(self, study: SearchStudy) -> tuple[optuna.Trial, Config] | None:
        """Draw at random, without the study's knowledge, until something can be trained."""
        # From the number of trials as well, so that a resumed search draws the same.
        rng = np.random.default_rng([self.space.search.seed, len(study.recorded())])
        for _ in range(_RANDOM_TRIES):
            draw = RandomDraw(rng)
            try:
                config = self.space.suggest(draw)
            except ValueError:
                continue
            if self._objection(config) is None:
                return self._ask(study, draw.params, 1)
        return None

    def _objection(self, config: Config) -> str | None:
        """Return why a configuration is not to be trained, or None."""
        if (number := self._numbers.get(training_key(config))) is not None:
            return f"the same as trial {number}"
        if (other := self._trained_earlier.get(training_key(config))) is not None:
            return f"the same as {other}"
        return self.space.violation(config)

    def _whole(self, params: dict[str, Any]) -> Config | None:
        """Return the configuration of parameters, or None where some are left to the sampler."""
        try:
            return self.space.suggest(optuna.trial.FixedTrial(params))
        except ValueError:
            return None

    def _recorded(self, frozen: FrozenTrial) -> Config:
        """Return the configuration of a trial in the journal."""
        try:
            return self.space.suggest(optuna.trial.FixedTrial(frozen.params))
        except ValueError as error:
            raise ValueError(
                f"{self.journal}: trial {frozen.number} is not of the space {self.space.name} "
                f"({error}): start a new run"
            ) from None

    def _values(self, running: _Running) -> list[float]:
        """Return what a trial that was trained whole comes to in each objective."""
        if self.settings.objectives == ("val_cer",):  # its configuration has no part in it
            return [running.best]
        config = self._recorded(self._study().recorded()[running.trial.number])
        return objectives(self.space, running.best, config)

    def _record(self, running: _Running, result: dict[str, Any]) -> None:
        epoch, cer = result.get("epoch"), result.get("val_cer")
        if epoch is None or cer is None or epoch in running.values:
            return
        running.values[epoch] = cer
        running.best = _lowest(running.best, cer, result.get("best_val_cer", math.inf))
        self._study().report(running.trial, epoch, cer)


@dataclass
class _Running:
    """A trial that Ray has not ended: its CER by epoch, and the lowest."""

    trial: optuna.Trial
    epochs: int
    values: dict[int, float] = field(default_factory=dict)
    best: float = math.inf


def _skip(study: SearchStudy, trial: optuna.Trial, reason: str) -> None:
    trial.set_user_attr(SKIPPED, reason)
    study.tell(trial, state=TrialState.FAIL)


def _lowest(*values: float) -> float:
    return min(filter(math.isfinite, values), default=math.inf)


def _diverged(result: dict[str, Any]) -> bool:
    """Return whether a trial's last result is a failure or not a number."""
    metrics = (result[name] for name in ("val_cer", "val_loss", "train_loss") if name in result)
    return "failure" in result or not all(map(math.isfinite, metrics))
