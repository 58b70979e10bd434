"""What Ray Tune does otherwise for the time of a search.

Each of these replaces a piece of Ray's own for as long as its context lasts, since Ray has no
option for it; ``tests/search/test_engine.py`` and ``test_recovery.py`` would notice where a new
release of Ray made one needless, or no longer possible.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs
from ray.tune.execution import class_cache
from ray.tune.execution.experiment_state import _ExperimentCheckpointManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.registry import _global_registry
from ray.tune.utils.object_cache import _ObjectCache

if TYPE_CHECKING:
    from search.engine.recorder import Recorder

tune_run: Any = importlib.import_module("ray.tune.tune")  # ``ray.tune`` has a function so named

_AHEAD = "TUNE_MAX_PENDING_TRIALS_PG"
_SNAPSHOT_EVERY = 1.0
"""Seconds between two snapshots of Ray's, at least."""
_LAST_WEIGHTS = 60.0
"""Seconds to wait for the last weights when a search ends."""
_SNAPSHOT_SHARE = 0.02
"""Part of the driver's time that snapshots may take to come oftener than Ray takes them."""


class SnapshotError(BaseException):
    """A snapshot of Ray's that cannot be read; no ``Exception``, all of which Ray catches."""


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
def processes_kept() -> Iterator[None]:
    """Let Ray keep each process that trains, or starts, as long as there may be trials for it.

    Of those that wait it stops all beyond the trials that wait at that moment, and those that
    start as soon as another could take their trial: where trials are shorter than a process takes
    to start, most slots would stay empty.
    """
    reuse, add = TuneController._maybe_reuse_cached_actor, TuneController._maybe_add_actors
    ask, flush = TuneController._maybe_update_trial_queue, _ObjectCache.flush_cached_objects

    def placed(controller: Any, trial: Trial) -> bool:
        """Return whether a process starts for a trial, or has begun to take it over."""
        process = controller._trial_to_actor.get(trial)
        return process is not None and controller._actor_manager.is_actor_started(process)

    def reused(controller: Any, trial: Trial) -> bool:
        begun = trial not in controller._resetting_trials and placed(controller, trial)
        return False if begun else reuse(controller, trial)

    def added(controller: Any) -> None:
        add(controller)
        for trial in list(controller._pending_trials):
            if controller._actor_cache.num_cached_objects and not placed(controller, trial):
                if trial not in controller._staged_trials:
                    controller._staged_trials.add(trial)
                    controller._actor_cache.increase_max(trial.placement_group_factory)
                reuse(controller, trial)

    def asked(controller: Any) -> None:
        ahead = controller._max_pending_trials
        begun = sum(placed(controller, trial) for trial in controller._pending_trials)
        controller._max_pending_trials = begun + max(
            ahead, controller._actor_cache.num_cached_objects
        )
        try:
            ask(controller)
        finally:
            controller._max_pending_trials = ahead

    def cached(cache: Any, key: Any, process: Any) -> bool:
        cache._cached_objects[key].append(process)
        cache._num_cached_objects += 1
        return True

    def flushed(cache: Any, force_all: bool = False) -> Iterator[Any]:
        return flush(cache, force_all=True) if force_all else iter(())

    with (
        _replaced(TuneController, "_maybe_reuse_cached_actor", reused),
        _replaced(TuneController, "_maybe_add_actors", added),
        _replaced(TuneController, "_maybe_update_trial_queue", asked),
        _replaced(_ObjectCache, "cache_object", cached),
        _replaced(_ObjectCache, "flush_cached_objects", flushed),
    ):
        yield


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
def stored_here() -> Iterator[None]:
    """Let a resumed search store everything in the run folder that was named.

    Ray moves the trials of a snapshot there. Trials that follow it would store where the search
    began, since their storage comes from the snapshot too.
    """
    restore, resume = TuneController._restore_trials, TuneController.resume

    def restored(controller: Any, state: dict[str, Any]) -> list[Trial]:
        storage = controller._storage
        # Ray would stage files where the original does, also for a copy in the same session.
        staged_at = storage._timestamp
        trials = restore(controller, state)
        storage._timestamp = staged_at
        for trial in trials:
            own: Any = trial.storage
            own._timestamp = staged_at
            trial.init_local_path()
            _forget_lost_checkpoint(trial)
        return trials

    def resumed(controller: Any, resume_config: Any) -> None:
        try:
            resume(controller, resume_config)
        except Exception as error:  # Ray would log it, and train everything again
            raise SnapshotError(str(error) or type(error).__name__) from error
        experiment = controller._search_alg._experiment
        experiment.storage = experiment.spec["storage"] = controller._storage

    with (
        _replaced(TuneController, "_restore_trials", restored),
        _replaced(TuneController, "resume", resumed),
    ):
        yield


@contextlib.contextmanager
def ended_by(event: threading.Event) -> Iterator[None]:
    """Let Ray's loop end, with a last snapshot, when an event is set: in any thread.

    Ray's own signal handlers are left out; outside the main thread it has none.
    """
    known = tune_run._setup_signal_catching
    tune_run._setup_signal_catching = lambda: event
    try:
        yield
    finally:
        tune_run._setup_signal_catching = known


@contextlib.contextmanager
def last_weights_saved(recorder: Recorder) -> Iterator[None]:
    """Let trials that run when a search ends save the weights that are to be kept of them.

    Ray stops their processes without. They train no further epoch meanwhile.
    """
    checkpoint, cleanup = TuneController.checkpoint, TuneController.cleanup
    ended: list[Any] = []

    def save_last(controller: Any) -> None:
        if not ended:
            ended.append(controller)
            _save_last(controller, recorder)

    def checkpointed(controller: Any, force: bool = False, wait: bool = False) -> None:
        if force and wait:  # the last, after the loop
            save_last(controller)
        checkpoint(controller, force, wait)

    def cleaned(controller: Any) -> None:
        save_last(controller)  # where an error ended the loop
        cleanup(controller)

    with (
        _replaced(TuneController, "checkpoint", checkpointed),
        _replaced(TuneController, "cleanup", cleaned),
    ):
        yield


def _forget_lost_checkpoint(trial: Trial) -> None:
    """Let a trial whose checkpoint is gone start again, since it could not go on from it."""
    saved: Any = trial.checkpoint
    if trial.is_finished() or saved is None:
        return
    if saved.filesystem.get_file_info(saved.path).type == pa.fs.FileType.NotFound:
        manager: Any = trial.run_metadata.checkpoint_manager
        trial.run_metadata.checkpoint_manager = type(manager)(manager.checkpoint_config)


def _save_last(controller: Any, recorder: Recorder) -> None:
    def missing() -> bool:
        running = controller._running_trials
        return any(trial.is_saving or recorder.owes(trial) for trial in running)

    if recorder.is_disk_full or not missing():
        return
    end = time.monotonic() + _LAST_WEIGHTS
    with (
        contextlib.suppress(Exception),  # what is lost, the tables say
        recorder.closing(),
        _replaced(TuneController, "_schedule_trial_train", lambda controller, trial: None),
    ):
        while missing() and not recorder.is_hurried and time.monotonic() < end:
            controller._actor_manager.next(timeout=0.1)


@contextlib.contextmanager
def _replaced(of: type, name: str, method: Callable[..., Any]) -> Iterator[None]:
    known = getattr(of, name)
    setattr(of, name, method)
    try:
        yield
    finally:
        setattr(of, name, known)
