"""Searches a space, and goes on with a search that ended early."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from emgmodels.config import Config
from emgmodels.paths import several
from emgmodels.sessions import Split, read_info, split_text
from emgmodels.stages.pretrained import check_weights
from search.display.console import Progress
from search.display.tensorboard import TrialBoards
from search.display.words import say
from search.engine.cluster_check import check_cluster
from search.engine.failures import SearchFailedError
from search.engine.gpu_share import AUTO, gpu_share, gpus_of_trial, trial_bytes
from search.engine.ray_session import engine
from search.engine.recorder import Recorder
from search.engine.resources import Resources, choose_resources, resources_asked
from search.engine.schedulers import make_scheduler
from search.engine.searcher import OptunaSampler
from search.engine.trial import TrialData, recordings
from search.engine.tuning import check_snapshot, resume_trials, run_trials
from search.halving.rungs import aligned_epochs
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.own_files import check_own, check_parent, unshare
from search.results.reading import read_trials
from search.results.record import TIME_IS_UP
from search.results.session_files import is_synthetic
from search.run.confirm import check_options, confirm_winners, refuse_confirmation
from search.run.earlier import learn
from search.run.forecast import tell_time
from search.run.ranking import print_ranking, send
from search.run.sessions import choose_sessions, open_sessions, sessions_again
from search.space import Space, load_space, sessions_of
from search.space.objectives import costs
from search.storage import Place, SessionStore, fetch, is_uri, local_path


def search(
    space: str | Path,
    *,
    data: str | Path | None = None,
    subject: str | None = None,
    split: str | Path | None = None,
    trials: int | None = None,
    time_budget: str | float | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    repeats: int | None = None,
    confirm: int | None = None,
    out: str | Path = "runs",
    storage: str | Path | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | str | None = None,
    address: str | None = None,
    warm_start: str | Path | Sequence[str | Path] = (),
    overrides: str | Sequence[str] = (),
    quiet: bool = False,
    verbose: bool = False,
) -> pa.Table:
    """Search a space and return its trials as a table, best first.

    Everything that the table holds, and more, is in the run folder that the last line printed
    names; ``search.results.read_trials`` reads it again.

    Args:
        space: the space file.
        data: folder with session files, or its URI in an object store; None searches on a
            synthetic typist, under the space's ``demo`` section.
        subject: whose sessions; may be left out where the folder has one subject.
        split: emg2qwerty's split file.
        trials: architectures to train, instead of the space's ``search.trials``.
        time_budget: seconds, or a duration such as ``8m``, instead of ``search.time_budget``.
        epochs: epochs of a whole training, instead of ``training.epochs``.
        seed: seed of every random choice, instead of ``search.seed``.
        repeats: trainings of each suggestion, instead of ``search.repeats``; with ``confirm``, of
            each winner.
        confirm: how many winners to train again when the search is over; see
            ``search.run.confirm``.
        out: where run folders are made.
        storage: where results go when a cluster searches: a folder that all nodes share, instead of
            ``out``, or an object store's URI (``s3://``, ``gs://``), to which the run folder is
            copied as it grows.
        cpus_per_trial: cores of a trial; one, or a share of the machine for each GPU.
        gpus_per_trial: GPUs of a trial, or a fraction; one, where there is one. ``auto`` lets as
            many share a GPU as its memory holds by an estimate (``search.engine.gpu_share``).
        address: a running Ray cluster's address.
        warm_start: folders of earlier searches that the sampler learns from; their trials that the
            space contains are not trained again.
        overrides: ``path.to.key=value``, applied last.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.

    Returns:
        One row a trial: rank, architecture, val_cer (%), epochs, state, parameters, every setting.

    Raises:
        ValueError: the space, the data or an option is wrong; nothing has started then.
        SearchFailedError: every trial failed, or the disk is full.
        EngineError: Ray could not be started; a kind of ``SearchFailedError``.
    """
    console = Console(quiet=quiet)
    place, parent = _storage(storage, out)
    check_parent(parent)
    space = local_path(space)
    if confirm is not None:
        check_options(confirm, repeats)
    loaded = load_space(
        space,
        demo=data is None,
        overrides=[
            *_option("search.trials", trials),
            *_option("search.time_budget", time_budget),
            *_option("training.epochs", epochs),
            *_option("search.seed", seed),
            *_option("search.repeats", repeats if confirm is None else None),
            *several(overrides),
        ],
    )
    scheduler = scheduler_of(loaded)  # these two refuse what they lack before anything is written
    OptunaSampler(loaded)
    for stage in loaded.pretrained(seed=loaded.search.seed):
        check_weights(stage)
    loaded.check(seed=loaded.search.seed)
    gpus_per_trial = gpus_of_trial(gpus_per_trial)
    if address is None or gpus_per_trial == AUTO:
        choose_resources(cpus_per_trial, gpus_per_trial, cluster=address is not None)
    if data is None:
        say(console, _DEMO.format(space=shlex.quote(str(space))))
    store = SessionStore(str(data)) if data is not None and is_uri(data) else None
    chosen = choose_sessions(loaded, store or data, subject, split)
    trial_data, loaded = open_sessions(chosen, loaded, console)
    if warning := loaded.check(seed=loaded.search.seed).warning:
        say(console, f"note: {warning}")
    if gpus_per_trial == AUTO:
        gpus_per_trial = _gpu_share(loaded, trial_data, console)
    if address is None:
        given = choose_resources(cpus_per_trial, gpus_per_trial, cluster=False)
        tell_time(console, loaded, trial_data, scheduler, given)
    earlier = map(local_path, several(warm_start))
    learnt = [trial for run in earlier for trial in learn(loaded, run, chosen, console)]
    tested = [os.path.abspath(path) for path in chosen.test]
    if store is not None:
        trial_data, tested = trial_data.moved(store), list(map(store.uri_of, chosen.test))
    with engine(address, cpus_per_trial, verbose):
        resources = choose_resources(cpus_per_trial, gpus_per_trial, cluster=address is not None)
        watch: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if address is not None:
            watch = check_cluster(trial_data, resources, place or parent, console)
        folder = RunFolder.create(parent, loaded.name, place)
        folder.write_space(loaded.resolved())
        folder.write_split(split_text(chosen, store.info_of if store else read_info))
        kept = folder.mirror.place.uri if folder.mirror else None
        facts = _facts(loaded, chosen, trial_data, tested, resources, data is None)
        folder.write_environment({**facts, "storage": kept})
        folder.send()
        say(console, f"Searching {loaded.name} into {folder.path}; Ctrl-C ends it with a ranking.")
        sampler = OptunaSampler(loaded, folder.path / _JOURNAL, learnt)
        with running(folder.path), watch:
            _conduct(run_trials, folder, sampler, trial_data, resources, console, verbose)
    if confirm is not None and not folder.is_interrupted:
        confirm_winners(
            folder.path,
            top=confirm,
            repeats=repeats,
            address=address,
            quiet=quiet,
        )
    return read_trials(folder.path)


def resume(
    run: str | Path,
    *,
    data: str | Path | None = None,
    add_trials: int = 0,
    time_budget: str | float | None = None,
    out: str | Path = "runs",
    address: str | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | str | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> pa.Table:
    """Go on with a search that Ctrl-C, a killed process or a reboot ended early, or make it longer.

    Ended trials stay, paused ones stay paused, and those that were running go on from their last
    checkpoint, under the space and the sessions of the run folder.

    Args:
        run: the run folder, or its URI in storage.
        data: folder that holds its session files now, or its URI; None: where they were.
        add_trials: architectures to train beyond those that the search was to train.
        time_budget: how long to go on; without it, for what is left of the search's budget, or as
            long again where it was spent.
        out: where a run folder from storage is fetched to.
        address: a running Ray cluster's address.
        cpus_per_trial: cores of a trial from now on, as where a machine has fewer than before.
        gpus_per_trial: GPUs of a trial from now on, or ``auto``.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.

    Returns:
        As ``search``.

    Raises:
        ValueError: it is not a run folder, has no snapshot, or its session files are gone.
    """
    console = Console(quiet=quiet)
    folder = _reopen(run, local_path(out))
    check_own(folder.path)
    more = []
    if add_trials:
        known = load_space(folder.path / "space.yaml").search.trials
        more = [f"search.trials={known + add_trials}"]
    time_budget = _time_left(folder) if time_budget is None else time_budget
    budget = _option("search.time_budget", time_budget)
    space = load_space(folder.path / "space.yaml", overrides=[*more, *budget])
    facts = folder.read_environment()
    refuse_confirmation(folder.path, facts)
    if folder.trials:
        check_snapshot(folder)
    trial_data, split = sessions_again(folder.path, facts, data, space)
    space = space.within(sessions_of(*recordings(trial_data)))
    cpus, gpus = resources_asked(facts, cpus_per_trial, gpus_of_trial(gpus_per_trial))
    if address is None or gpus == AUTO:
        choose_resources(cpus, gpus, cluster=address is not None)
    if gpus == AUTO:
        gpus = _gpu_share(space, trial_data, console)
    with engine(address, cpus, verbose):
        resources = choose_resources(cpus, gpus, cluster=address is not None)
        watch: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if address is not None:
            storage = folder.mirror.place if folder.mirror else folder.path
            watch = check_cluster(trial_data, resources, storage, console)
        say(console, f"Going on with {folder.path}; Ctrl-C ends it with a ranking.")
        with running(folder.path), watch:
            unshare(folder.path)
            facts |= {"split": split, "resources_per_trial": asdict(resources)}
            facts["storage"] = folder.mirror.place.uri if folder.mirror else None
            folder.write_environment(facts)
            if more:
                lasting = load_space(folder.path / "space.yaml", overrides=more)
                folder.write_space(lasting.resolved())
            sampler = OptunaSampler(space, folder.path / _JOURNAL)
            if not folder.trials:
                sampler.begin_again()
            run_them = resume_trials if folder.trials else run_trials
            _conduct(run_them, folder, sampler, trial_data, resources, console, verbose)
    return read_trials(folder.path)


def scheduler_of(space: Space) -> TrialScheduler:
    """Return the scheduler that a space asks for; its rungs follow from how its trials start."""
    training = space.training.plain()
    several = len(space.search.objectives) > 1
    return make_scheduler(
        space.search.scheduler.name,
        max_epochs=space.epochs,
        grace=space.search.scheduler.grace,
        eta=space.search.scheduler.eta,
        rank_by=space.search.scheduler.rank_by,
        aligned=aligned_epochs(training),
        costs_of=functools.partial(_costs_of, space) if several else None,
    )


_DEMO = """\
No --data: this is a demo, on a synthetic typist. Its error rates say nothing about people.
For session files of emg2qwerty or your own: python -m search.run {space} --data DIR"""
_JOURNAL = "study.journal"


def _conduct(
    run: Callable[..., None],
    folder: RunFolder,
    sampler: OptunaSampler,
    data: TrialData,
    resources: Resources,
    console: Console,
    verbose: bool,
) -> None:
    """Train a search's trials by ``run_trials`` or ``resume_trials``, and print its ranking."""
    space = sampler.space
    scheduler = scheduler_of(space)
    facts = folder.read_environment()
    synthetic = is_synthetic(facts)
    on = "synthetic data" if synthetic else f"subject {facts.get('subject', 'unknown')}"
    boards = TrialBoards(folder.path / "tensorboard", space.parameters(), on)
    with Progress(console, sampler.trials, space.search.time_budget, verbose) as progress:
        recorder = Recorder(folder, boards, progress, scheduler, space.search)
        run(sampler, scheduler, data, resources, recorder)
    if sampler.exhausted:
        say(console, f"note: no more trials: {sampler.exhausted}")
    print_ranking(console, folder, synthetic)
    send(console, folder)
    if recorder.failure:
        raise SearchFailedError(recorder.failure)


def _costs_of(space: Space, trial: Trial) -> list[float]:
    """Return what a search is to keep low beside the CER of a trial of Ray's."""
    return costs(space, Config.model_validate_json(trial.config["config"]))


def _time_left(folder: RunFolder) -> float | None:
    """Return the seconds left of a search's time budget; None: it has none, or spent it."""
    budget = load_space(folder.path / "space.yaml").search.time_budget
    spent = any(trial.reason.endswith(TIME_IS_UP) for trial in folder.trials.values())
    if budget is None or spent or folder.elapsed >= budget:
        return None
    return budget - folder.elapsed


def _option(path: str, value: object) -> list[str]:
    return [] if value is None else [f"{path}={value}"]


def _gpu_share(space: Space, data: TrialData, console: Console) -> float:
    """Return the part of this machine's GPUs that each trial is given, and say so."""
    train, val = recordings(data)
    needed = trial_bytes(space, [*train, *val])
    gpu = min(
        torch.cuda.get_device_properties(index).total_memory
        for index in range(torch.cuda.device_count())
    )
    share = gpu_share(needed, gpu, (os.cpu_count() or 1) / torch.cuda.device_count())
    say(
        console,
        f"A trial needs {needed / 2**20:,.0f} MB of {gpu / 2**20:,.0f} MB of a GPU at most, by an "
        f"estimate: each is given {share:g} of one.",
    )
    return share


def _storage(storage: str | Path | None, out: str | Path) -> tuple[Place | None, Path]:
    """Return the object store, if that is where results go, and the folder for run folders."""
    if storage is None:
        return None, local_path(out)
    if is_uri(storage):
        return Place(str(storage).rstrip("/")), local_path(out)
    return None, local_path(storage)


def _reopen(run: str | Path, out: Path) -> RunFolder:
    """Open a run folder of this machine, or fetch one from storage to ``out``."""
    if not is_uri(run):
        path = local_path(run)
        folder = RunFolder.open(path)
        storage = folder.read_environment().get("storage")
        return RunFolder.open(path, Place(storage)) if storage else folder
    place = Place(str(run).rstrip("/"))
    path = out / place.name
    if path.is_dir() and RunFolder.open(path).read_environment().get("storage") != place.uri:
        raise ValueError(
            f"{path}: is another search than {place.uri}: give --out a folder to fetch it to"
        )
    with running(path) if path.is_dir() else contextlib.nullcontext():
        fetch(place, path)
    return RunFolder.open(path, place)


def _facts(
    space: Space,
    split: Split,
    data: TrialData,
    tested: list[str],
    resources: Resources,
    synthetic: bool,
) -> dict[str, Any]:
    """Return what ``environment.json`` says of a search beside the machine."""
    return {
        "seed": space.search.seed,
        "subject": split.subject,
        "synthetic": synthetic,
        "split": {"origin": split.origin, **asdict(data), "test": tested},
        "resources_per_trial": asdict(resources),
    }
