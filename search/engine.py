"""Ray Tune behind the search: starts it quietly, and runs the trials or goes on with them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray import tune
from ray._private import ray_constants
from ray.tune.execution import class_cache
from ray.tune.execution.experiment_state import _ExperimentCheckpointManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.registry import _global_registry
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchGenerator

from search.failures import DISK_FULL, FIRST_EPOCH, RETRIES, is_disk_full
from search.recorder import Recorder, SearchEnded
from search.resources import Resources, trials_ahead
from search.results import RunFolder
from search.sampler import ListedConfigs, OptunaSampler
from search.space import SearchConfig
from search.storage import ENGINE_FOLDER
from search.trial import EmgTrial, TrialData

_OBJECT_STORE_BYTES = 128 * 2**20
_AHEAD = "TUNE_MAX_PENDING_TRIALS_PG"
_SNAPSHOT_EVERY = 1.0
"""Seconds between two snapshots of Ray's, at least."""
_SNAPSHOT_SHARE = 0.02
"""Part of the driver's time that snapshots may take to come oftener than Ray takes them."""


@contextlib.contextmanager
def engine(
    address: str | None, cpus_per_trial: float | None, verbose: bool = False
) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster, for the time of a search.

    Args:
        address: a running cluster's address, ``auto`` for the one on this machine; None starts one
            that listens on this machine only and ends with the search.
        cpus_per_trial: what a trial will ask for, so that one fits on a small machine.
        verbose: show Ray's own messages, and what the trials' processes write.

    Raises:
        ValueError: there is no cluster at the address.
    """
    if ray.is_initialized():  # by the notebook that calls
        yield
        return
    level = "INFO" if verbose else "ERROR"
    quiet: dict[str, Any] = {"logging_level": level, "log_to_driver": verbose}
    if address is None:
        cores = max(os.cpu_count() or 1, math.ceil(cpus_per_trial or 1))
        quiet |= {"num_cpus": cores, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        quiet |= {"object_store_memory": _OBJECT_STORE_BYTES}
    try:
        with _on_loopback() if address is None else contextlib.nullcontext():
            ray.init(address=address or "local", **quiet)  # not whatever cluster runs here
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray's processes listen on 127.0.0.1, where they are told to.

    Ray replaces that address by the machine's outer one, and listens on every interface, unless
    clusters are off (as they are on macOS and Windows).
    """
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters


def run_trials(
    sampler: OptunaSampler | ListedConfigs,
    scheduler: TrialScheduler,
    data: TrialData,
    resources: Resources,
    recorder: Recorder,
    trainable: type[EmgTrial] = EmgTrial,
) -> None:
    """Run a search's trials to their end; Ctrl-C ends it early, with nothing lost."""
    tuner = tune.Tuner(
        _trainable(trainable, data, resources, sampler.settings),
        tune_config=tune.TuneConfig(
            metric="val_cer",
            mode="min",
            search_alg=Suggestions(sampler),
            scheduler=scheduler,
            num_samples=sampler.trials,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=ENGINE_FOLDER,
            storage_path=_storage(recorder.folder),
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the recorder asks
            verbose=0,
        ),
    )
    _fit(tuner, recorder, resources)


def check_snapshot(folder: RunFolder) -> None:
    """Raise ValueError where Ray has no snapshot of a search to go on from."""
    if not tune.Tuner.can_restore(_storage(folder, ENGINE_FOLDER)):
        raise ValueError(f"{folder.path}: cannot be resumed: it holds no snapshot of its trials")


def resume_trials(
    sampler: OptunaSampler,
    scheduler: TrialScheduler,
    data: TrialData,
    resources: Resources,
    recorder: Recorder,
) -> None:
    """Go on with a search that was interrupted or killed, from Ray's snapshot of it.

    Ended trials stay as they are, paused ones stay paused, and those that were running go on from
    their last checkpoint. Where the space now asks for more trials, they follow.
    """
    path = _storage(recorder.folder, ENGINE_FOLDER)
    trainable = _trainable(EmgTrial, data, resources, sampler.settings)
    tuner = tune.Tuner.restore(path, trainable)
    local: Any = tuner._local_tuner  # restore() takes none of these
    local._tune_config.search_alg = Suggestions(sampler)
    local._tune_config.scheduler = scheduler
    local.get_run_config().callbacks = [recorder]
    _fit(tuner, recorder, resources)


class Suggestions(SearchGenerator):
    """Ray Tune's source of trials: as many as the sampler's space says, also after a restore."""

    def __init__(self, sampler: OptunaSampler | ListedConfigs) -> None:
        super().__init__(sampler)
        self.sampler = sampler

    def __reduce__(self) -> tuple[type[Suggestions], tuple[OptunaSampler | ListedConfigs]]:
        return Suggestions, (self.sampler,)

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> Trial | None:
        """Return the next trial, tagged by its number, with one copy of its configuration.

        Ray's tag repeats the configuration, and stands in each result and checkpoint.
        """
        trial = super().create_trial_if_possible(experiment_spec)
        if trial is not None:
            trial.set_experiment_tag(str(trial.config["number"]))
            vars(trial).update(evaluated_params={}, _Trial__unresolved_config={})
        return trial

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, in which the search may have been over."""
        super().set_state({**state, "total_samples": self.sampler.trials, "finished": False})


def _trainable(
    trial: type[EmgTrial], data: TrialData, resources: Resources, settings: SearchConfig
) -> Any:
    return tune.with_resources(
        tune.with_parameters(
            trial,
            data=data,
            cpus=resources.threads,
            save_every=settings.save_every,
            patience=settings.hang_after or FIRST_EPOCH,
        ),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )


def _storage(folder: RunFolder, name: str = "") -> str:
    """Return where Ray keeps trials and checkpoints: in the run folder, or in its copy."""
    if folder.mirror is None:
        return str(folder.path.absolute() / name)
    place = folder.mirror.place
    return (place / name).uri if name else place.uri


def _fit(tuner: tune.Tuner, recorder: Recorder, resources: Resources) -> None:
    snapshot = False
    uploads = recorder.folder.mirror is not None
    try:
        with (
            _own_credentials(),
            _trainable_at_hand(),
            _waiting(trials_ahead(resources)),
            _failed_resets_retried(),
            contextlib.nullcontext() if uploads else _frequent_snapshots(),
        ):
            tuner.fit()
        snapshot = True
    except SearchEnded:
        pass
    except Exception as error:
        if not is_disk_full(error):
            raise
        recorder.ending = DISK_FULL
    recorder.finish(snapshot)


@contextlib.contextmanager
def _own_credentials() -> Iterator[None]:
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
def _waiting(trials: int) -> Iterator[None]:
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
def _trainable_at_hand() -> Iterator[None]:
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
def _failed_resets_retried() -> Iterator[None]:
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
def _frequent_snapshots() -> Iterator[None]:
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


def _trial_name(trial: Trial) -> str:
    return f"{trial.config['number']:04d}"
