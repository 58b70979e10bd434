"""What Ray Tune does otherwise for the time of a search.

Each of these replaces a piece of Ray's own for as long as its context lasts, since Ray has no
option for it; ``tests/search/test_engine.py`` and ``test_recovery.py`` would notice where a new
release of Ray made one needless, or no longer possible.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from ray.tune.execution import class_cache
from ray.tune.execution.experiment_state import _ExperimentCheckpointManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.registry import _global_registry

_AHEAD = "TUNE_MAX_PENDING_TRIALS_PG"
_SNAPSHOT_EVERY = 1.0
"""Seconds between two snapshots of Ray's, at least."""
_SNAPSHOT_SHARE = 0.02
"""Part of the driver's time that snapshots may take to come oftener than Ray takes them."""


@contextlib.contextmanager
def own_credentials() -> Iterator[None]:
    """Let trials use the credentials of the node they train on.

    Ray Tune would hand those of the driver's environment to them, and Ray log them on every node.
    """
    handed_on = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_on if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = handed_on


@contextlib.contextmanager
def waiting(trials: int) -> Iterator[None]:
    """Let so many trials wait for a slot, unless the user says how many.

    Of a searcher that learns Ray asks one at a time, starts its process, then asks the next.
    """
    if _AHEAD in os.environ:
        yield
        return
    os.environ[_AHEAD] = str(trials)
    try:
        yield
    finally:
        del os.environ[_AHEAD]


@contextlib.contextmanager
def trainable_at_hand() -> Iterator[None]:
    """Keep what Ray has looked up in its registry of trainables.

    It asks the cluster three times for each trial, and unpickles the class and its resources anew.
    """
    registry, known = _global_registry, {}

    def get(category: str, key: str) -> Any:
        if (category, key) not in known:
            known[category, key] = type(registry).get(registry, category, key)
        return known[category, key]

    def contains(category: str, key: str) -> bool:
        return (category, key) in known or type(registry).contains(registry, category, key)

    vars(registry).update(get=get, contains=contains)
    try:
        yield
    finally:
        del registry.get, registry.contains


@contextlib.contextmanager
def failed_resets_retried() -> Iterator[None]:
    """Let Ray retry a trial that failed while a process that had trained another took it over.

    Ray takes it for one that still waits, and retries only what runs. Where the process died, Ray
    has retried it when it learns that the taking over failed as well.
    """
    fail = TuneController._trial_task_failure

    def failed(controller: Any, trial: Trial, exception: Exception) -> None:
        is_reset = trial in controller._resetting_trials
        controller._resetting_trials.discard(trial)
        if trial.status == Trial.PENDING:
            if not is_reset:
                return
            controller._set_trial_status(trial, Trial.RUNNING)
            controller._unstage_trial_with_resources(trial)
        fail(controller, trial, exception)

    with _replaced(TuneController, "_trial_task_failure", failed):
        yield


@contextlib.contextmanager
def frequent_snapshots() -> Iterator[None]:
    """Let Ray take snapshots more often than every ten seconds where they cost next to nothing.

    What was trained since the last one, a search that was killed trains again.
    """
    adjust = _ExperimentCheckpointManager._update_auto_checkpoint_time

    def adjusted(manager: Any, time_taken: float) -> None:
        adjust(manager, time_taken)
        if manager.auto_checkpoint_enabled:  # the user has not said how often
            often = max(_SNAPSHOT_EVERY, time_taken / _SNAPSHOT_SHARE)
            manager._checkpoint_period = min(manager._checkpoint_period, often)

    with _replaced(_ExperimentCheckpointManager, "_update_auto_checkpoint_time", adjusted):
        yield


@contextlib.contextmanager
def _replaced(of: type, name: str, method: Callable[..., None]) -> Iterator[None]:
    known = getattr(of, name)
    setattr(of, name, method)
    try:
        yield
    finally:
        setattr(of, name, known)
