"""Logs a search elsewhere too: to Weights & Biases or MLflow, by Ray Tune's own callbacks.

    search: {log_to: [wandb, mlflow]}

A trial has the name that it has everywhere, its settings by dotted name, and its epochs' metrics.
Where these services are, and who may write there, is said by their own environment variables:
``WANDB_MODE=offline``, ``WANDB_PROJECT``, ``MLFLOW_TRACKING_URI``. Without the last, MLflow's
records are in the run folder.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from emgmodels.installing import how_to_install
from search.report.display.tensorboard import SCALARS
from search.results.record import TrialRecord, by_path
from search.space.settings import LogTo

PROJECT = "emgsearch"
"""Project of Weights & Biases, unless ``WANDB_PROJECT`` names another."""
_PACKAGES = {"wandb": "wandb", "mlflow": "mlflow"}


def check_log_to(names: Sequence[LogTo]) -> None:
    """Refuse services that cannot be written to, before anything is trained.

    Raises:
        ValueError: a package is not installed, or Weights & Biases knows no user.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise ValueError(
                f"search.log_to: {name} is not installed: leave {name} out, or add it: "
                f"{how_to_install(name)}"
            )
    if "wandb" in names and not _has_wandb_user():
        raise ValueError(
            "search.log_to: Weights & Biases knows no user: type wandb login, set WANDB_API_KEY, "
            "or keep the records on this machine with WANDB_MODE=offline"
        )


def loggers(
    names: Sequence[LogTo],
    run: Path,
    record_of: Callable[[Trial], TrialRecord],
    tell: Callable[[str], None],
) -> list[tune.Callback]:
    """Return the callbacks that log a search elsewhere.

    Args:
        names: where to.
        run: the run folder: its name is the group, or the experiment.
        record_of: what is known of a trial.
        tell: told, once, that a service takes nothing more.
    """
    return [Elsewhere(name, run, record_of, tell) for name in names]


class Elsewhere(tune.Callback):
    """Hands trials to one of Ray's own loggers, as a reader is to see them.

    An error of the service never ends a search: it is told, and nothing more is sent.
    """

    def __init__(
        self,
        name: LogTo,
        run: Path,
        record_of: Callable[[Trial], TrialRecord],
        tell: Callable[[str], None],
    ) -> None:
        self.name, self._run, self._record_of, self._tell = name, run, record_of, tell
        self._logger: Any = None
        self._shown: dict[str, _Shown] = {}

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Leave nothing in Ray's snapshots: a resumed search brings its own."""
        return tune.Callback, ()

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **_: Any,
    ) -> None:
        """Ray is about to begin."""
        self._safely(self._open)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial got its slot, for the first time or again."""
        self._safely(lambda: self._begun(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """An epoch is over."""
        metrics = {tag: result[metric] for tag, metric in SCALARS.items() if metric in result}
        metrics["training_iteration"] = result["training_iteration"]
        self._safely(lambda: self._logger.log_trial_result(iteration, self._begun(trial), metrics))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """A trial ended, whoever ended it; one that never began is not known there."""
        if not trial.run_metadata.last_result and trial.trial_id not in self._shown:
            return
        self._safely(lambda: self._logger.log_trial_end(self._begun(trial), failed=False))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial failed more often than it is started again."""
        self._safely(lambda: self._logger.log_trial_end(self._begun(trial), failed=True))

    def on_experiment_end(self, trials: list[Trial], **_: Any) -> None:
        """All is over: what is under way to the service is waited for."""
        self._safely(lambda: self._logger.on_experiment_end(trials))

    def _open(self) -> None:
        self._logger = _LOGGERS[self.name](self._run)
        self._logger.setup()

    def _begun(self, trial: Trial) -> _Shown:
        """Return a trial as the service sees it, made known to the service."""
        shown = self._shown.get(trial.trial_id)
        if shown is None:
            shown = _Shown(trial, self._record_of(trial), self._run.name)
            self._logger.log_trial_start(shown)
            self._shown[trial.trial_id] = shown
        return shown

    def _safely(self, do: Callable[[], object]) -> None:
        if self._logger is None and do != self._open:
            return
        try:
            do()
        except Exception as error:  # whatever a service, or the way to it, does
            self._logger = None
            why = " ".join(str(error).split())[:300] or type(error).__name__
            self._tell(f"note: nothing more is logged to {self.name}: {why}")


class _Shown:
    """A trial of Ray's with the name and the settings that a reader knows."""

    def __init__(self, trial: Trial, record: TrialRecord, run: str) -> None:
        self._trial, self._name = trial, record.name
        self.config = {**by_path(record.config), "seed": record.config.seed}
        # Of one search that goes on, a trial is one record.
        self.trial_id = f"{run}-{record.number:04d}-{trial.trial_id}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return self._name


def _has_wandb_user() -> bool:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled") or os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    return bool(wandb.api.api_key)


def _wandb(run: Path) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(
        project=os.environ.get("WANDB_PROJECT") or PROJECT,
        group=run.name,
        dir=os.environ.get("WANDB_DIR") or str(run.absolute()),
        resume="allow",
    )


def _mlflow(run: Path) -> Any:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    here = f"sqlite:///{run.absolute() / 'mlflow.db'}"
    return MLflowLoggerCallback(
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or here,
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name,
    )


_LOGGERS: dict[LogTo, Callable[[Path], Any]] = {"wandb": _wandb, "mlflow": _mlflow}
