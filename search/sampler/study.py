"""The durable study: Optuna's journal in the run folder, as the sampler is to see it."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import heapq
import json
import math
import os
import time
import warnings
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import LOCK_FILE_SUFFIX, get_lock_file
from optuna.trial import FrozenTrial, TrialState

from emgmodels.atomic import append
from emgmodels.config import Config
from search.results.growing_tables import drop_torn_line
from search.sampler.trial_views import Shown, shown_to
from search.space import Space

_FORCE_EVERY = 1.0
"""Seconds between two writings of the journal through to the disk."""


# Others take a time that does not depend on the number of trials.
_LIMITED = (optuna.samplers.TPESampler, optuna.samplers.GPSampler)
"""Samplers whose time for a suggestion grows with the trials that they see."""
_SHOWN = 250
"""Trials that they see: the fewest of which TPE takes its 25 good ones, as of any number."""
_SHOWN_BEST = 100
"""Those of the earlier ones that they see, the best; the others are the latest."""
# Between two choices the latest trials in view grow by up to 25, so that none is lost.
_CHOSEN_EVERY = 25
"""Trials between two choices of the best, which looks at all."""


RAY_TRIAL = "trial_id"
"""User attribute of a study's trial: Ray's name for it. Trials without it were never trained."""
_METRIC_NAMES = {
    "val_cer": "validation CER (%)",
    "parameters": "parameters",
    "macs": "multiply-accumulates a second",
    "lookahead_ms": "look-ahead (ms)",
    "electrodes": "electrodes",
}
"""Objectives as optuna-dashboard names them."""


class SearchStudy(optuna.Study):
    """A study that shows its sampler stopped and unfinished trials too, as far as they have got.

    Of many trials it shows ``tpe`` and ``gp`` the best and the latest. So a suggestion costs no
    more after ten thousand trials than after a few hundred. TPE models its good trials on 25 at
    most. Of several objectives, where a trial may be good in many ways, it shows all.
    """

    _split = -1
    _best: Sequence[int] = ()

    journal: JournalFile | None = None
    """What the study is written to."""
    shown: Shown
    """How the sampler sees a trial."""
    _now: list[FrozenTrial] | None = None
    """What TPE sees while one trial is suggested."""

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Write what is done meanwhile at once: all of it is in the journal, or nothing."""
        return contextlib.nullcontext() if self.journal is None else self.journal.together()

    def ask(self, *given: Any, **options: Any) -> optuna.Trial:
        """Return a new trial, whose parameters follow from the trials as they are now."""
        self._now = None
        return super().ask(*given, **options)

    def tell(self, *given: Any, **options: Any) -> FrozenTrial:
        """Record how a trial ended."""
        self._now = None
        return super().tell(*given, **options)

    def report(self, trial: optuna.Trial, epoch: int, cer: float) -> None:
        """Record the validation CER (%) of an epoch, of several objectives too.

        Optuna's own ``Trial.report`` refuses those; its storages know no such difference.
        """
        # Without it no sampler would learn from stopped trials of a search with several
        # objectives.
        self._now = None
        self._storage.set_trial_intermediate_value(trial._trial_id, epoch, float(cer))

    def rest(self) -> None:
        """Let trials that have not ended wait, since nothing trains them any more.

        Whoever looks at the study then sees none that runs for ever.
        """
        self._turn(TrialState.RUNNING, TrialState.WAITING)

    def wake(self) -> None:
        """Let trials run again that ``rest`` let wait."""
        # What Optuna itself lets wait has no name of Ray's: it is to be asked for.
        self._turn(TrialState.WAITING, TrialState.RUNNING)

    def _turn(self, before: TrialState, after: TrialState) -> None:
        self._now = None
        with self.together():
            for trial in self.recorded():
                if trial.state == before and RAY_TRIAL in trial.user_attrs:
                    self._storage.set_trial_state_values(trial._trial_id, after)

    def recorded(self) -> list[FrozenTrial]:
        """Return the trials as they are."""
        # Optuna would copy all trials at each call, and the searcher asks at each suggestion.
        return super()._get_trials(deepcopy=False)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = self._now
        if trials is None:
            trials = list(map(self.shown, self._seen(use_cache)))
            # TPE asks again for each group of parameters. It leaves out the trial that is being
            # suggested, and no other changes meanwhile.
            if isinstance(self.sampler, optuna.samplers.TPESampler):
                self._now = trials
        wanted = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(wanted) if deepcopy else wanted

    def _seen(self, use_cache: bool) -> list[FrozenTrial]:
        trials = super()._get_trials(False, None, use_cache)
        if len(trials) <= _SHOWN or not isinstance(self.sampler, _LIMITED):
            return trials
        # The front may hold old trials anywhere, so leaving some out would change what is best.
        if len(self.directions) > 1:
            return trials
        # The latest trials are always whole in view: what runs now must not be suggested again.
        split = len(trials) // _CHOSEN_EVERY * _CHOSEN_EVERY - _SHOWN + _SHOWN_BEST
        if split != self._split:
            self._split = split
            best = heapq.nsmallest(_SHOWN_BEST, map(self.shown, trials[:split]), _rank)
            self._best = sorted(trial.number for trial in best)
        return [*(trials[number] for number in self._best), *trials[split:]]


def _rank(trial: FrozenTrial) -> tuple[float, ...]:
    """Order trials as TPE does: whole ones by value, then the deepest by their last report."""
    if trial.state == TrialState.COMPLETE:
        return (0, *trial.values)
    steps = trial.intermediate_values
    if not steps:
        return (2,)
    last = steps[max(steps)]
    return (1, -max(steps), math.inf if math.isnan(last) else last)


class JournalFile(JournalFileBackend):
    """Optuna's journal, of whose lines this process has written most or all.

    What it appends it hands back from memory: Optuna asks for it at once, at each of a trial's 15
    lines, and would read the file. Lines of others, noticed by the file's length, are read from it.
    Lines are forced to the disk once a second. A process that is killed loses none. A power failure
    loses those of the last second, and Ray has no snapshot of the trials they are about either.
    """

    _forced = 0.0

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._fresh: list[dict[str, Any]] = []
        self._held: list[str] = []
        self._holding = False
        self._read, self._end = -1, -1

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write the lines that are appended meanwhile at its end, in one piece."""
        with self._alone():
            self._holding = True
            try:
                yield
            finally:
                self._holding = False
                self._write()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Return the lines from a number on."""
        # Optuna reads back each line right after it was appended: from memory this takes no time.
        if self._read == log_number_from:
            found, self._fresh = self._fresh, []
        else:
            self._write()
            self._end = os.stat(self._file_path).st_size
            found = list(super().read_logs(log_number_from))
        self._read = log_number_from + len(found)
        return iter(found)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        with contextlib.nullcontext() if self._holding else self._alone():
            self._held += lines
            # While lines are held and another program has written, Optuna must read both from the
            # file.
            if not self._holding or self._read < 0:
                self._write()
        self._fresh = [*self._fresh, *map(json.loads, lines)] if self._read >= 0 else []

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from writing, and notice where they have written."""
        with get_lock_file(self._lock):
            # Only a longer file shows that another program has appended, such as optuna-
            # dashboard.
            if os.stat(self._file_path).st_size != self._end:
                self._read = -1
            yield

    def _write(self) -> None:
        if not self._held:
            return
        # Forcing each of a trial's 15 lines took 5 ms a line.
        force = time.monotonic() - self._forced >= _FORCE_EVERY
        lines = "".join(f"{line}\n" for line in self._held).encode()
        self._end, self._held = append(Path(self._file_path), lines, force), []
        if force:
            self._forced = time.monotonic()


def _release(journal: Path) -> None:
    """Remove the lock that a killed process left; only one search at a time has a run folder.

    Optuna waits for it as long as the journal that it names changes or is not there. In a folder
    that was copied it names the journal of the original.
    """
    lock = journal.with_name(f"{journal.name}{LOCK_FILE_SUFFIX}")
    if lock.is_symlink():
        lock.unlink(missing_ok=True)


def open_study(space: Space, journal: Path | None, sampler: BaseSampler) -> SearchStudy:
    """Open a study, or create it.

    Args:
        space: what is searched; its name is the study's.
        journal: Optuna's journal file, or None for a study in memory.
        sampler: what suggests.

    Raises:
        ValueError: the journal holds a study of other objectives.
    """
    # Optuna would print two lines for each trial between the lines of the live table.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
    file: JournalFile | None = None
    if journal is not None:
        journal = journal.absolute()  # its lock is a link to it
        _release(journal)
        drop_torn_line(journal)
        file = JournalFile(str(journal))
        storage = optuna.storages.JournalStorage(file)
    minimize: Literal["minimize"] = "minimize"
    name, objectives = space.name, len(space.search.objectives)
    study = optuna.create_study(
        storage=storage, study_name=name, directions=[minimize] * objectives, load_if_exists=True
    )
    if len(study.directions) != objectives:
        raise ValueError(
            f"{journal}: holds a study of {len(study.directions)} objectives, the space has "
            f"{objectives}: start a new run"
        )
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([_METRIC_NAMES[each] for each in space.search.objectives])
    # The scheduler decides which trials stop. Optuna's own pruner would decide a second time.
    found = SearchStudy(name, storage, sampler, optuna.pruners.NopPruner())
    found.journal, found.shown = file, shown_to(sampler, space)
    return found


def training_key(config: Config) -> bytes:
    """Return what is the same for equal models and trainings only."""
    # Name and seed differ in each trial and say nothing about what is trained.
    content = config.model_dump_json(include={"model", "training"})
    return hashlib.blake2b(content.encode(), digest_size=16).digest()
