"""What Ray Tune's trials report, recorded: run folder, TensorBoard, console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from emgmodels.config import Config
from search.console import Progress
from search.results import (
    COMPLETE,
    CUT_OFF,
    FAILED,
    PAUSED,
    RUNNING,
    STOPPED,
    TIME_IS_UP,
    WAITING,
    RunFolder,
    TrialRecord,
    flatten,
)
from search.storage import StoredFile
from search.tensorboard import TrialBoards
from search.trial import CHECKPOINT


class Recorder(tune.Callback):
    """Writes what trials report into the run folder, TensorBoard and the console."""

    def __init__(
        self,
        folder: RunFolder,
        boards: TrialBoards,
        progress: Progress,
        scheduler: TrialScheduler,
    ) -> None:
        self.folder, self.boards, self.progress = folder, boards, progress
        self.explain: Callable[[str], str] | None = getattr(scheduler, "why", None)

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Leave nothing in Ray's snapshots: a resumed search brings its own recorder."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial got its slot, for the first time or again."""
        record = self._record(trial)
        record.state, record.reason = RUNNING, ""
        record.node = trial.node_ip or ""
        self.folder.append(record)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """An epoch is over."""
        _forget_statistics(trial)
        record = self._record(trial)
        record.node = result.get("node_ip", record.node)
        if "failure" in result:
            record.state, record.reason = FAILED, result["failure"]
            self.folder.write_failure(record, result["traceback"])
            return
        record.add({**result, "arrived": self.folder.elapsed})
        result.pop("best_windows", None)  # else Ray would write it into every snapshot
        self.folder.append_epochs(record)
        self.boards.report(record.slug, record.curve[-1])
        if (reading := result.pop("reading", None)) is not None:
            self.boards.search.read(record, reading)
        self.progress.reported(record)

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A checkpoint is there: at a rung, or at the end."""
        if trial.checkpoint is not None:
            record = self._record(trial)
            saved = trial.checkpoint
            record.checkpoint = StoredFile(saved.filesystem, f"{saved.path}/{CHECKPOINT}")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """A trial ended, whoever ended it."""
        record = self._record(trial)
        if record.state != FAILED:
            whole = record.epoch >= record.config.training.epochs
            record.state = COMPLETE if whole else STOPPED
            record.reason = self._why(trial)
        self._ended(record)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial's process died more often than it is started again."""
        record = self._record(trial)
        record.state = FAILED
        record.reason = "its process ended without a word, out of memory perhaps"
        self._ended(record)

    def get_state(self) -> None:
        """Send the study, since Ray is about to take a snapshot: in storage it is never older."""
        self.folder.send("study.journal")

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Ray went once around its loop."""
        self.progress.update(lambda: self._ranking(trials))
        if self.folder.is_due():
            ranking = self._ranking(trials)
            self.folder.flush()
            self.boards.search.update(ranking, self.folder.elapsed)

    def finish(self, time_is_up: bool) -> None:
        """Give the trials that the end of the search cut off their reason, and write everything."""
        for record in self.folder.trials.values():
            if record.state in (RUNNING, PAUSED, WAITING):
                end = TIME_IS_UP if time_is_up else "the search was interrupted"
                record.reason = f"{record.state} at epoch {record.epoch} when {end}"
                record.state = CUT_OFF
                self.boards.end(record.slug, failed=False)
        self.folder.keep_best_checkpoints()
        self.folder.flush()
        self.boards.search.update(self.folder.ranking(), self.folder.elapsed, final=True)

    def _record(self, trial: Trial) -> TrialRecord:
        number = trial.config["number"]
        if number not in self.folder.trials:
            record = TrialRecord(number, Config.model_validate_json(trial.config["config"]))
            self.folder.trials[number] = record
            model, training = record.config.model, record.config.training
            values = flatten(model.model_dump(mode="json"), "model")
            self.boards.start(
                record.slug, values | flatten(training.model_dump(mode="json"), "training")
            )
        return self.folder.trials[number]

    def _ranking(self, trials: list[Trial]) -> list[TrialRecord]:
        """Return the trials, best first; whether one waits or is paused only Ray knows."""
        for trial in trials:
            record = self.folder.trials.get(trial.config["number"])
            if record is not None and trial.status in (Trial.PAUSED, Trial.PENDING):
                record.state = PAUSED if trial.status == Trial.PAUSED else WAITING
        return self.folder.ranking()

    def _ended(self, record: TrialRecord) -> None:
        self.folder.append(record)
        self.boards.end(record.slug, failed=record.state == FAILED)
        self.folder.keep_best_checkpoints(record)
        self.progress.ended(record)

    def _why(self, trial: Trial) -> str:
        if self.explain is not None:
            return self.explain(trial.trial_id)
        record = self._record(trial)
        if record.state == COMPLETE:
            return f"trained all {record.epoch} epochs"
        return f"stopped by the scheduler at epoch {record.epoch}"


def _forget_statistics(trial: Trial) -> None:
    """Drop what Ray computes of every metric of every trial, 36 KB each, and nobody here reads."""
    trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}
