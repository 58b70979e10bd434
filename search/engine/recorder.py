"""What Ray Tune's trials report, recorded: run folder, TensorBoard, console.

Also watched, once around Ray's loop: whatever ends a search before its last trial.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.schedulers import TrialScheduler

from emgmodels.config import Config, share_sections
from emgmodels.saying import counted
from search.engine import failures
from search.engine.checkpoints import BestCheckpoints, SpentCheckpoints, TimelySaves
from search.engine.in_time import InTime
from search.engine.snapshots import forget_configuration, forget_statistics
from search.engine.stopping import Stopping
from search.engine.trial import CHECKPOINT
from search.halving.ending import Ending, Why, ending_of
from search.report.display.console import Progress
from search.report.display.tensorboard import TrialBoards
from search.results.folder import RunFolder
from search.results.record import (
    COMPLETE,
    CUT_OFF,
    FAILED,
    PAUSED,
    RUNNING,
    STOPPED,
    WAITING,
    TrialRecord,
    Weights,
    by_path,
)
from search.space import SearchConfig
from search.storage import APPENDED, StoredFile

_PATIENCE = 600.0
"""Seconds without a report after which a trial may be taken for hung, at least."""
_PATIENCE_EPOCHS = 20
"""The same, in durations of the longest epoch seen."""
_HOPELESS = 5
"""Trials that fail, while no other trains, after which a search is given up; three for each slot
where that is more."""
_SPARE_BYTES = 8 * 2**20
"""A disk with less free space counts as full."""
_LOOK = 1.0
"""Seconds between two looks at what may be wrong."""


class Recorder(tune.Callback):
    """Writes what trials report into the run folder, TensorBoard and the console."""

    def __init__(
        self,
        folder: RunFolder,
        boards: TrialBoards,
        progress: Progress,
        scheduler: TrialScheduler,
        settings: SearchConfig,
    ) -> None:
        """Record a search.

        Args:
            folder: where its tables are written.
            boards: TensorBoard's event files.
            progress: what a person sees.
            scheduler: who can say why a trial ended.
            settings: when to end, and after how long a trial without a report is taken for hung.

        Attributes:
            ending: why the search ends before its time; None while it does not.
            end_loop: lets Ray's loop end; the engine sets it.
            is_hurried: whether the user does not want to wait for the last weights.
        """
        self.folder, self.boards, self.progress = folder, boards, progress
        self.explain: Callable[[str], Ending | None] | None = getattr(scheduler, "ending", None)
        self.ending: Ending | None = None
        self.end_loop: Callable[[], None] = lambda: None
        self.is_hurried = False
        self._is_closing = self._is_ending_said = False
        self._begin, self._settings = time.monotonic(), settings
        self._heard: dict[str, tuple[Trial, float]] = {}
        self._hung: dict[str, Ending] = {}
        self._failed: set[int] = set()  # in this process, as the next
        self._trained: set[int] = set()
        self._looked = 0.0
        self._trials: list[Trial] = []
        self._best = BestCheckpoints(folder.path, settings.checkpoints)
        self._best.find(folder.trials.values())
        self._stopping = Stopping(settings, folder.trials)
        self._is_in_time = isinstance(scheduler, InTime)
        self._saves, self._spent = TimelySaves(), SpentCheckpoints()
        known = (row["seconds"] for record in folder.trials.values() for row in record.curve)
        self._longest_epoch = max(known, default=0.0)
        folder.reserve()

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Leave nothing in Ray's snapshots: a resumed search brings its own recorder."""
        return tune.Callback, ()

    @property
    def is_disk_full(self) -> bool:
        """Whether the search ends because nothing more can be written."""
        return self.ending is not None and self.ending.why is Why.DISK_FULL

    @property
    def failure(self) -> str:
        """Why the search failed as a whole, and what to do; empty where it did not."""
        path, tried = self.folder.path, list(self.folder.trials.values())
        if self.is_disk_full:
            return (
                f"{path}: the disk is full. What was trained is in the tables; make space, then go "
                f"on with: python -m search.run --resume {shlex.quote(str(path))}"
            )
        if self.ending is not None and self.ending.why is Why.NONE_TRAINS:
            tried = [record for record in tried if record.number in self._failed]
        reasons = Counter(record.ending for record in tried if record.state == FAILED)
        if not reasons or (any(record.curve for record in tried) and reasons.total() < len(tried)):
            return ""
        reason, count = reasons.most_common(1)[0]
        return (
            f"{path}: none of {counted(len(tried), 'trial')} could be trained; {count} of them: "
            f"{reason}. All that is known of each is in {path / 'failures'}"
        )

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial got its slot, for the first time or again."""
        record = self.record_of(trial)
        record.state, record.ending = RUNNING, None
        record.node = ""
        self.folder.append(record)
        self._heard[trial.trial_id] = trial, time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """An epoch is over."""
        self._heard[trial.trial_id] = trial, time.monotonic()
        record = self.record_of(trial)
        if (node := result.get("node_ip", "")) != record.node:  # Ray says it with results only
            record.node = node
            self.folder.append(record)
        if "failure" in result:
            record.state, record.ending = FAILED, ending_of(result["failure"])
            self._note_failed(record)
            self.folder.write_failure(record, result["traceback"])
            return
        record.add({**result, "arrived": self.folder.elapsed})
        self._trained.add(record.number)
        self._longest_epoch = max(self._longest_epoch, result["seconds"])
        result.pop("best_windows", None)  # else Ray would write it into every snapshot
        self.folder.append_epochs(record)
        self.boards.report(record.slug, record.curve[-1])
        if (reading := result.pop("reading", None)) is not None:
            self.boards.search.read(record, reading)
        if self._best.may_keep(record) and (self._saves.is_due(record) or result.get("done")):
            result[SHOULD_CHECKPOINT] = True
        self.progress.reported(record)

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A checkpoint is there: of a new best epoch, at a rung, or at the end."""
        forget_statistics(trial)
        record = self.record_of(trial)
        self._saves.saved(record)
        if _take_checkpoint(record, trial):
            self._spent.note(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """A trial ended, whoever ended it; one that never began has nothing to record."""
        forget_statistics(trial)
        if trial.config["number"] not in self.folder.trials:
            return
        record = self.record_of(trial)
        before, is_new = record.why, record.state == FAILED or record.number in self._trained
        if record.state != FAILED:
            whole = record.epoch >= record.config.training.epochs
            record.state = COMPLETE if whole else STOPPED
            record.ending = self._ending_of(trial)
            if record.ending is not None and record.ending.why is Why.WHOLE:
                record.state = COMPLETE  # with what a trial may cost, though not to its last epoch
        self._ended(record, trial, is_new or record.why is not before)
        forget_configuration(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial failed more often than it is started again."""
        record = self.record_of(trial)
        record.state = FAILED
        times = trial.num_failures if trial.num_failures > 1 else None
        record.ending = replace(self._note_failure(trial), times=times)
        self._note_failed(record)
        self._ended(record, trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial failed and is started again."""
        self.record_of(trial).ending = replace(self._note_failure(trial), again=True)

    def owes(self, trial: Trial) -> bool:
        """Return whether a trial's best weights are to be kept, and are in no checkpoint yet."""
        record = self.record_of(trial)
        return self._best.may_keep(record) and self._saves.is_owed(record)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Wait for the last weights: each trial that owes some saves them after its epoch."""
        self._say_ending()
        self._saves.end()
        self._is_closing = True
        try:
            yield
        finally:
            self._is_closing = False

    def interrupt(self) -> bool:
        """End the search, as Ctrl-C asks for; asked again, without its last weights.

        Returns:
            Whether there was something left to end.
        """
        if self.ending is None:
            self._end(Ending(Why.INTERRUPTED))
        elif self._is_closing and not self.is_hurried:
            self.is_hurried = True
        else:
            return False
        return True

    def get_state(self) -> None:
        """Send study and tables, since Ray is about to store a snapshot: they are never older."""
        with self._deaf():
            self.folder.send("study.journal", *APPENDED)
            self._spent.on_snapshot(self._trials)

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Ray went once around its loop."""
        self._trials = trials
        self.progress.update(lambda: self._ranking(trials))
        if self.folder.is_due():
            ranking = self._ranking(trials)
            with self._deaf():
                if self.folder.mirror is None:  # else each would be brought here from storage
                    self._best.keep(self.folder.trials.values())
                else:
                    self._best.find(self.folder.trials.values())
                self.folder.flush()
                self.boards.search.update(ranking, self.folder.elapsed)
        if self.ending is None and time.monotonic() - self._looked >= _LOOK:
            self._looked = time.monotonic()
            self._end_hung()
            if ending := self._reason_to_end():
                self._end(ending)
        if self.ending is not None:
            self._say_ending()

    def finish(self, snapshot: bool) -> None:
        """Give the trials that the end of the search cut off their reason, and write everything.

        Args:
            snapshot: whether Ray took one of the search as it ended.
        """
        self.folder.release()
        for record in self.folder.trials.values():
            if record.state in (RUNNING, PAUSED, WAITING):
                end = self.ending or Ending(Why.INTERRUPTED)
                record.ending = end.cut(record.state, record.epoch)
                record.state = CUT_OFF
                if self._is_in_time and end.why is Why.TIME_BUDGET and record.curve:
                    # An epoch took longer than those before it, and nobody waits for it.
                    record.ending = Ending(Why.IN_TIME, epoch=record.epoch)
                    record.state = STOPPED
                self.boards.end(record.slug, failed=False)
        self._best.keep(self.folder.trials.values())
        if snapshot:
            self._spent.finish()
        self.folder.flush()
        self.boards.search.update(self.folder.ranking(), self.folder.elapsed, final=True)

    def _end(self, ending: Ending) -> None:
        """End the search as Ctrl-C does: with a snapshot from which it can go on."""
        self.ending = ending
        self.folder.release()
        self.end_loop()

    def _say_ending(self) -> None:
        """Say why the search ends, once; not from a signal's handler, in the middle of a line."""
        if not self._is_ending_said:
            self._is_ending_said = True
            self.progress.ending(str(self.ending or Ending(Why.INTERRUPTED)))

    def _reason_to_end(self) -> Ending | None:
        if time.monotonic() - self._begin >= (self._settings.time_budget or math.inf):
            return Ending(Why.TIME_BUDGET)
        if shutil.disk_usage(self.folder.path).free < _SPARE_BYTES:
            return Ending(Why.DISK_FULL)
        many = len(self._failed) >= max(_HOPELESS, 3 * len(self._heard))
        if many and self._trained <= self._failed:
            return Ending(Why.NONE_TRAINS)
        return self._stopping.ending()

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        """Count no time as a trial's silence in which reports only wait, as during an upload."""
        begin = time.monotonic()
        yield
        spent = time.monotonic() - begin
        self._heard = {name: (trial, at + spent) for name, (trial, at) in self._heard.items()}

    def _end_hung(self) -> None:
        """End the processes of trials without a report for too long; Ray starts them again."""
        limit = self._settings.hang_after
        if limit is None:
            epochs = _PATIENCE_EPOCHS * self._longest_epoch
            limit = max(_PATIENCE, epochs) if epochs else failures.FIRST_EPOCH
        now = time.monotonic()
        for trial_id, (trial, heard) in list(self._heard.items()):
            if trial.status != Trial.RUNNING:
                del self._heard[trial_id]
            elif now - heard > limit and (actor := trial.temporary_state.ray_actor):
                self._heard[trial_id] = trial, now
                self._hung[trial_id] = Ending(Why.HUNG, seconds=round(limit))
                ray.kill(actor)

    def _note_failure(self, trial: Trial) -> Ending:
        """Write down why a trial failed, and return it."""
        text = failures.last_failure(trial)
        self.folder.write_failure(self.record_of(trial), text)
        if failures.is_disk_full(text) and self.ending is None:
            self._end(Ending(Why.DISK_FULL))
        return self._hung.pop(trial.trial_id, None) or failures.ending_noted(text)

    def _note_failed(self, record: TrialRecord) -> None:
        self._failed.add(record.number)
        self._looked = -math.inf  # so that it is seen at once whether any can be trained

    def record_of(self, trial: Trial) -> TrialRecord:
        """Return what is known of a trial of Ray's."""
        number = trial.config["number"]
        if number not in self.folder.trials:
            config = Config.model_validate_json(trial.config["config"])
            self.folder.trials[number] = record = TrialRecord(number, share_sections(config))
            self.boards.start(record.slug, by_path(record.config))
        return self.folder.trials[number]

    def _ranking(self, trials: list[Trial]) -> list[TrialRecord]:
        """Return the trials, best first; whether one waits or is paused only Ray knows."""
        for trial in trials:
            record = self.folder.trials.get(trial.config["number"])
            if record is not None and trial.status in (Trial.PAUSED, Trial.PENDING):
                record.state = PAUSED if trial.status == Trial.PAUSED else WAITING
        return self.folder.ranking()

    def _ended(self, record: TrialRecord, trial: Trial, is_new: bool = True) -> None:
        if record.best and record.checkpoint is None:  # of an earlier process, or paused there
            _take_checkpoint(record, trial)
        self._saves.forget(record)
        self._stopping.note(record)
        self._best.keep(self.folder.trials.values(), record)
        self.folder.append(record)
        self.boards.end(record.slug, failed=record.state == FAILED)
        self._spent.note(trial)
        if is_new:  # else it was paused, and told, as an earlier part of the search ended
            self.progress.ended(record)

    def _ending_of(self, trial: Trial) -> Ending | None:
        """Return why a trial ended: what the scheduler knows of it, else whether it was whole."""
        if self.explain is not None and (known := self.explain(trial.trial_id)) is not None:
            return known
        record = self.record_of(trial)
        return Ending(Why.WHOLE if record.state == COMPLETE else Why.STOPPED, epoch=record.epoch)


def _take_checkpoint(record: TrialRecord, trial: Trial) -> bool:
    """Note a trial's newest checkpoint, and the weights in it; return whether it has one."""
    if trial.checkpoint is None or trial.latest_checkpoint_result is None:
        return False
    saved, metrics = trial.checkpoint, trial.latest_checkpoint_result.metrics or {}
    for name in ("best_windows", "reading"):  # else Ray would write them into every snapshot
        metrics.pop(name, None)
    record.checkpoint = StoredFile(saved.filesystem, f"{saved.path}/{CHECKPOINT}")
    record.saved = Weights.of(metrics)
    return True
