"""Ray Tune behind the search: starts it quietly, and runs the trials or goes on with them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray._private import ray_constants
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from search.console import Progress
from search.recorder import Recorder
from search.results import RunFolder
from search.sampler import ListedConfigs, OptunaSampler
from search.storage import ENGINE_FOLDER
from search.tensorboard import TrialBoards
from search.trial import EmgTrial, TrialData

_RETRIES = 2
_OBJECT_STORE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Resources:
    """What one trial is given."""

    cpus: float
    """Cores; also torch's threads, at least one."""
    gpus: float
    """GPUs; a fraction shares one."""

    @property
    def threads(self) -> int:
        """Torch threads of a trial."""
        return max(1, math.floor(self.cpus))


@contextmanager
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
        with _on_loopback() if address is None else nullcontext():
            ray.init(address=address, **quiet)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
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


def choose_resources(cpus: float | None, gpus: float | None, cluster: bool) -> Resources:
    """Return what a trial is given; the default is a GPU each where there are any, else a core.

    Args:
        cpus: cores for each trial, None for the default.
        gpus: GPUs for each trial, None for the default.
        cluster: ask the cluster what it has instead of this machine.

    Raises:
        ValueError: no machine has that much.
    """
    if cluster:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
        most_cpus = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    else:
        most_gpus, most_cpus = float(torch.cuda.device_count()), float(os.cpu_count() or 1)
    gpus = (1.0 if most_gpus else 0.0) if gpus is None else gpus
    if cpus is None:
        cpus = max(1.0, most_cpus // max(1.0, most_gpus / gpus)) if gpus else 1.0
    where = "the largest node of the cluster has" if cluster else "this machine has"
    for option, wanted, most in (("cpus", cpus, most_cpus), ("gpus", gpus, most_gpus)):
        if wanted > most:
            raise ValueError(
                f"--{option}-per-trial {wanted:g}: {where} {most:g} {option.upper()[:-1]}s: ask "
                f"for at most that, or leave the option out"
            )
    return Resources(cpus, gpus)


def run_trials(
    sampler: OptunaSampler | ListedConfigs,
    scheduler: TrialScheduler,
    data: TrialData,
    resources: Resources,
    folder: RunFolder,
    boards: TrialBoards,
    progress: Progress,
    trainable: type[EmgTrial] = EmgTrial,
) -> None:
    """Run a search's trials to their end; Ctrl-C ends it early, with nothing lost."""
    settings = sampler.settings
    recorder = Recorder(folder, boards, progress, scheduler)
    tuner = tune.Tuner(
        _trainable(trainable, data, resources, settings.save_every),
        tune_config=tune.TuneConfig(
            metric="val_cer",
            mode="min",
            search_alg=sampler,
            scheduler=scheduler,
            num_samples=sampler.trials,
            time_budget_s=settings.time_budget,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=ENGINE_FOLDER,
            storage_path=_storage(folder),
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True, num_to_keep=3),
            verbose=0,
        ),
    )
    _fit(tuner, recorder, settings.time_budget)


def resume_trials(
    data: TrialData,
    resources: Resources,
    folder: RunFolder,
    boards: TrialBoards,
    progress: Progress,
    time_budget: float | None,
    save_every: float,
) -> None:
    """Go on with a search that was interrupted or killed, from Ray's snapshot of it.

    Ended trials stay as they are, paused ones stay paused, and those that were running go on from
    their last checkpoint.

    Raises:
        ValueError: Ray has no snapshot of the search.
    """
    path = _storage(folder, ENGINE_FOLDER)
    if not tune.Tuner.can_restore(path):
        raise ValueError(f"{folder.path}: cannot be resumed: it holds no snapshot of its trials")
    tuner = tune.Tuner.restore(
        path, _trainable(EmgTrial, data, resources, save_every), resume_errored=True
    )
    local: Any = tuner._local_tuner  # restore() takes neither callbacks nor a time budget
    local._tune_config.time_budget_s = time_budget
    recorder = Recorder(folder, boards, progress, local._tune_config.scheduler)
    local.get_run_config().callbacks = [recorder]
    _fit(tuner, recorder, time_budget)


def _trainable(
    trial: type[EmgTrial], data: TrialData, resources: Resources, save_every: float
) -> Any:
    return tune.with_resources(
        tune.with_parameters(trial, data=data, cpus=resources.threads, save_every=save_every),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )


def _storage(folder: RunFolder, name: str = "") -> str:
    """Return where Ray keeps trials and checkpoints: in the run folder, or in its copy."""
    if folder.mirror is None:
        return str(folder.path.absolute() / name)
    place = folder.mirror.place
    return (place / name).uri if name else place.uri


def _fit(tuner: tune.Tuner, recorder: Recorder, time_budget: float | None) -> None:
    begin = time.monotonic()
    tuner.fit()
    recorder.finish(time_budget is not None and time.monotonic() - begin >= time_budget)


def _trial_name(trial: Trial) -> str:
    return f"{trial.config['number']:04d}"
