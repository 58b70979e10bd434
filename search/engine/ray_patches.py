"""All that Ray does otherwise for the time of a search.

Each patch replaces a piece of Ray's own for as long as its context lasts, since Ray has no option
for it. It names the version of Ray with which it was seen to be needed, and the pieces of Ray that
it stands on. Where the installed Ray lacks one, the patch is left out, and ``environment.json``
says so. ``test_engine.py`` and ``test_recovery.py`` would notice that a patch became needless.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.tune.experiment import Trial

from search.engine.patching import of_ray, patch, replaced
from search.engine.snapshots import Files, SnapshotError, go_on_here

if TYPE_CHECKING:
    from search.engine.recorder import Recorder

_TUNE = "ray.tune.tune"  # which ``ray.tune`` hides behind a function so named
_CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
_CACHE = "ray.tune.utils.object_cache:_ObjectCache"
_SNAPSHOTS = "ray.tune.execution.experiment_state:_ExperimentCheckpointManager"
_SYNCER = "ray.train._internal.storage:_FilesystemSyncer"
_REGISTRY = "ray.tune.registry:_global_registry"
_NODE = "ray._private.node:Node"
_SERVICES, _CONSTANTS = "ray._private.services", "ray._private.ray_constants"
_COMMAND = "_build_python_executable_command_memory_profileable"
_CLASSES = "ray.tune.execution.class_cache:_ActorClassCache"
_ENVIRONMENTS = {"RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR"}  # ask Ray for them
_AHEAD = "TUNE_MAX_PENDING_TRIALS_PG"
_SNAPSHOT_EVERY = 1.0  # seconds between two snapshots of Ray's, at least
_SNAPSHOT_SHARE = 0.02  # the part of the driver's time that they may take
_LAST_WEIGHTS = 60.0  # seconds to wait for them when a search ends


@patch("2.60.0", f"{_CONSTANTS}:ENABLE_RAY_CLUSTER")
@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Let Ray's processes listen on 127.0.0.1, where they are told to.

    Ray replaces that address by the machine's outer one, and listens on every interface, unless
    clusters are off (as they are on macOS and Windows).
    """
    with replaced(of_ray(_CONSTANTS), ENABLE_RAY_CLUSTER=False):
        yield


@patch(
    "2.60.0",
    f"{_NODE}.start_monitor(self)",
    f"{_NODE}.start_log_monitor(self)",
    f"{_NODE}.start_api_server(self, include_dashboard, raise_on_failure)",
    f"{_SERVICES}:{_COMMAND}(component, session_dir, unbuffered)",
    *(f"{_CONSTANTS}:PROCESS_TYPE_{name}_AGENT" for name in ("DASHBOARD", "RUNTIME_ENV")),
    f"{_CONSTANTS}:RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    # Without these a trial asks for an environment, and Ray ends where nothing prepares it.
    *(f"{_CLASSES}.{name}" for name in ("_cache", "get(self, trainable_cls)")),
)
@contextlib.contextmanager
def few_processes(verbose: bool) -> Iterator[None]:
    """Let Ray start no process that a search on one machine has no use for.

    Its autoscaler, its dashboard and what follows log files and prepares environments take five
    seconds of processor time. ``verbose`` shows what trials write: log files are followed. Under
    ``uv run`` Ray would also copy the current folder for trials, recordings and all.
    """
    services, constants = of_ray(_SERVICES), of_ray(_CONSTANTS)
    command, agents = getattr(services, _COMMAND), {constants.PROCESS_TYPE_DASHBOARD_AGENT}
    if not os.environ.keys() & _ENVIRONMENTS:
        agents.add(constants.PROCESS_TYPE_RUNTIME_ENV_AGENT)
    unused = ["start_monitor", "start_api_server", *(() if verbose else ("start_log_monitor",))]

    def built(component: str, session_dir: str, unbuffered: bool = True) -> list[str]:
        if component not in agents:
            return command(component, session_dir, unbuffered)
        return [sys.executable, "-I", "-S", str(Path(__file__).with_name("ray_agent.py"))]

    with (
        replaced(of_ray(_NODE), **{name: lambda node, **options: None for name in unused}),
        replaced(services, **{_COMMAND: built}),
        replaced(constants, RAY_ENABLE_UV_RUN_RUNTIME_ENV=False),
    ):
        yield


@patch("2.60.0", f"{_CLASSES}._cache", f"{_CLASSES}.get(self, trainable_cls)")
@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Let trials have the environment, and the credentials, of the node they train on.

    Ray Tune would hand them variables of the driver's, and Ray log those on every node; and no
    process of Ray's that waits could be used, since each has another environment.
    """

    def get(classes: Any, trainable_cls: Any) -> Any:
        if trainable_cls not in classes._cache:
            classes._cache[trainable_cls] = ray.remote(trainable_cls)
        return classes._cache[trainable_cls]

    with replaced(of_ray(_CLASSES), get=get):
        yield


@patch("2.60.0", f"{_CONTROLLER}._max_pending_trials")
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


@patch("2.60.0", f"{_REGISTRY}.get(category, key)", f"{_REGISTRY}.contains(category, key)")
@contextlib.contextmanager
def trainable_at_hand() -> Iterator[None]:
    """Keep what Ray has looked up in its registry of trainables.

    It asks the cluster three times for each trial, and unpickles the class and its resources anew.
    """
    registry, known = of_ray(_REGISTRY), {}

    def get(category: str, key: str) -> Any:
        if (category, key) not in known:
            known[category, key] = type(registry).get(registry, category, key)
        return known[category, key]

    def contains(category: str, key: str) -> bool:
        return (category, key) in known or type(registry).contains(registry, category, key)

    with replaced(registry, get=get, contains=contains):
        yield


@patch(
    "2.60.0",
    f"{_CONTROLLER}._maybe_reuse_cached_actor(self, trial)",
    *(f"{_CONTROLLER}._maybe_{name}(self)" for name in ("add_actors", "update_trial_queue")),
    *(f"{_CONTROLLER}._{name}" for name in ("trial_to_actor", "actor_manager", "actor_cache")),
    *(f"{_CONTROLLER}._{name}_trials" for name in ("pending", "staged", "resetting")),
    f"{_CONTROLLER}._max_pending_trials",
    f"{_CACHE}.cache_object(self, key, obj)",
    f"{_CACHE}.flush_cached_objects(self, force_all)",
    f"{_CACHE}.increase_max(self, key, by)",
    *(f"{_CACHE}.{name}" for name in ("_cached_objects", "_num_cached_objects")),
    f"{_CACHE}.num_cached_objects",
    "ray.air.execution._internal:RayActorManager.is_actor_started(self, tracked_actor)",
)
@contextlib.contextmanager
def processes_kept() -> Iterator[None]:
    """Let Ray keep each process that trains, or starts, as long as there may be trials for it.

    Of those that wait it stops all beyond the trials that wait at that moment, and those that
    start as soon as another could take their trial: where trials are shorter than a process takes
    to start, most slots would stay empty.
    """
    tune_controller, object_cache = of_ray(_CONTROLLER), of_ray(_CACHE)
    reuse, add = tune_controller._maybe_reuse_cached_actor, tune_controller._maybe_add_actors
    ask, flush = tune_controller._maybe_update_trial_queue, object_cache.flush_cached_objects

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
        free = controller._actor_cache.num_cached_objects
        controller._max_pending_trials = begun + max(ahead, free)
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
        replaced(tune_controller, _maybe_reuse_cached_actor=reused, _maybe_add_actors=added),
        replaced(tune_controller, _maybe_update_trial_queue=asked),
        replaced(object_cache, cache_object=cached, flush_cached_objects=flushed),
    ):
        yield


@patch(
    "2.60.0",
    f"{_CONTROLLER}._trial_task_failure(self, trial, exception)",
    f"{_CONTROLLER}._set_trial_status(self, trial, status)",
    f"{_CONTROLLER}._unstage_trial_with_resources(self, trial)",
    f"{_CONTROLLER}._resetting_trials",
)
@contextlib.contextmanager
def failed_resets_retried() -> Iterator[None]:
    """Let Ray retry a trial that failed while a process that had trained another took it over.

    Ray takes it for one that still waits, and retries only what runs. Where the process died, Ray
    has retried it when it learns that the taking over failed as well.
    """
    tune_controller = of_ray(_CONTROLLER)
    fail = tune_controller._trial_task_failure

    def failed(controller: Any, trial: Trial, exception: Exception) -> None:
        is_reset = trial in controller._resetting_trials
        controller._resetting_trials.discard(trial)
        if trial.status == Trial.PENDING:
            if not is_reset:
                return
            controller._set_trial_status(trial, Trial.RUNNING)
            controller._unstage_trial_with_resources(trial)
        fail(controller, trial, exception)

    with replaced(tune_controller, _trial_task_failure=failed):
        yield


@patch(
    "2.60.0",
    f"{_SNAPSHOTS}._update_auto_checkpoint_time(self, time_taken)",
    f"{_SNAPSHOTS}.auto_checkpoint_enabled",
    f"{_SNAPSHOTS}._checkpoint_period",
)
@contextlib.contextmanager
def frequent_snapshots() -> Iterator[None]:
    """Let Ray take snapshots more often than every ten seconds where they cost next to nothing.

    What was trained since the last one, a search that was killed trains again.
    """
    snapshots = of_ray(_SNAPSHOTS)
    adjust = snapshots._update_auto_checkpoint_time

    def adjusted(manager: Any, time_taken: float) -> None:
        adjust(manager, time_taken)
        if manager.auto_checkpoint_enabled:  # the user has not said how often
            often = max(_SNAPSHOT_EVERY, time_taken / _SNAPSHOT_SHARE)
            manager._checkpoint_period = min(manager._checkpoint_period, often)

    with replaced(snapshots, _update_auto_checkpoint_time=adjusted):
        yield


@patch(
    "2.60.0",
    f"{_SYNCER}._sync_up_command(self, local_path, uri, exclude)",
    f"{_SYNCER}.storage_filesystem",
)
@contextlib.contextmanager
def whole_snapshots() -> Iterator[None]:
    """Let Ray write snapshots whole, as they were when they were taken.

    It copies them over the old ones in a thread, while it may write the next: a search that is
    killed meanwhile is left with a part of one, and cannot be resumed.
    """

    def prepared(syncer: Any, local_path: str, uri: str, exclude: Any = None) -> tuple[Any, ...]:
        target = {"filesystem": syncer.storage_filesystem, "folder": uri}
        return Files(Path(local_path)).write, target

    with replaced(of_ray(_SYNCER), _sync_up_command=prepared):
        yield


@patch(
    "2.60.0",
    f"{_CONTROLLER}._restore_trials(self, experiment_state)",
    f"{_CONTROLLER}.resume(self, resume_config)",
    f"{_CONTROLLER}._storage",
    f"{_CONTROLLER}._search_alg",
    f"{_CONTROLLER}._cached_trial_decisions",
    f"{_CONTROLLER}._queued_trial_decisions",
)
@contextlib.contextmanager
def stored_here() -> Iterator[None]:
    """Let a resumed search store everything in the run folder that was named.

    Ray moves the trials of a snapshot there. Trials that follow it would store where the search
    began, since their storage comes from the snapshot too. Decisions that waited for a checkpoint
    come from it as well: a trial that goes on from an older one would end after its next epoch.
    """
    tune_controller = of_ray(_CONTROLLER)
    restore, resume = tune_controller._restore_trials, tune_controller.resume

    def restored(controller: Any, state: dict[str, Any]) -> list[Trial]:
        # Ray would stage files where the original does, also for a copy in the same session.
        storage, staged_at = controller._storage, controller._storage._timestamp
        trials = restore(controller, state)
        storage._timestamp = staged_at
        for trial in trials:
            go_on_here(trial, staged_at)
        controller._search_alg.know(trials)
        return trials

    def resumed(controller: Any, resume_config: Any) -> None:
        try:
            resume(controller, resume_config)
        except Exception as error:  # Ray would log it, and train everything again
            raise SnapshotError(str(error) or type(error).__name__) from error
        controller._cached_trial_decisions.clear()
        controller._queued_trial_decisions.clear()
        experiment = controller._search_alg._experiment
        experiment.storage = experiment.spec["storage"] = controller._storage

    with replaced(tune_controller, _restore_trials=restored, resume=resumed):
        yield


@patch("2.60.0", f"{_TUNE}:_setup_signal_catching()")
@contextlib.contextmanager
def ended_by(event: threading.Event) -> Iterator[None]:
    """Let Ray's loop end, with a last snapshot, when an event is set: in any thread.

    Ray's own signal handlers are left out; outside the main thread it has none.
    """
    with replaced(of_ray(_TUNE), _setup_signal_catching=lambda: event):
        yield


@patch(
    "2.60.0",
    f"{_CONTROLLER}.checkpoint(self, force, wait)",
    f"{_CONTROLLER}.cleanup(self)",
    f"{_CONTROLLER}._schedule_trial_train(self, trial)",
    f"{_CONTROLLER}._running_trials",
    f"{_CONTROLLER}._actor_manager",
    "ray.air.execution._internal:RayActorManager.next(self, timeout)",
)
@contextlib.contextmanager
def last_weights_saved(recorder: Recorder) -> Iterator[None]:
    """Let trials that run when a search ends save the weights that are to be kept of them.

    Ray stops their processes without. They train no further epoch meanwhile.
    """
    tune_controller = of_ray(_CONTROLLER)
    checkpoint, cleanup = tune_controller.checkpoint, tune_controller.cleanup
    save_last = functools.cache(lambda controller: _save_last(controller, recorder))  # only once

    def checkpointed(controller: Any, force: bool = False, wait: bool = False) -> None:
        if force and wait:  # the last, after the loop
            save_last(controller)
        checkpoint(controller, force, wait)

    def cleaned(controller: Any) -> None:
        save_last(controller)  # where an error ended the loop
        cleanup(controller)

    with replaced(tune_controller, checkpoint=checkpointed, cleanup=cleaned):
        yield


def _save_last(controller: Any, recorder: Recorder) -> None:
    def missing() -> bool:
        return any(each.is_saving or recorder.owes(each) for each in controller._running_trials)

    if recorder.is_disk_full or not missing():
        return
    end = time.monotonic() + _LAST_WEIGHTS
    with (
        contextlib.suppress(Exception),  # what is lost, the tables say
        recorder.closing(),
        replaced(of_ray(_CONTROLLER), _schedule_trial_train=lambda controller, trial: None),
    ):
        while missing() and not recorder.is_hurried and time.monotonic() < end:
            controller._actor_manager.next(timeout=0.1)
