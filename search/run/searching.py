"""Searches a space, and goes on with a search that ended early."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from emgmodels.own_code import asks_for_code
from emgmodels.paths import several
from emgmodels.sessions import People, read_people
from search.engine.tuning import check_snapshot
from search.halving.ending import Why
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.own_files import check_own
from search.results.reading import read_trials
from search.run.conduct import conduct
from search.run.confirm import (
    check_options,
    confirm_winners,
    refuse_confirmation,
    tell_confirmation,
)
from search.run.dry_run import show
from search.run.plan import given_options, plan_rest, plan_search
from search.space import load_space
from search.space.files import has_demo
from search.storage import Place, fetch, is_uri, local_path


@asks_for_code
def search(
    space: str | Path,
    *,
    data: str | Path | None = None,
    small: bool = False,
    subject: str | None = None,
    split: str | Path | None = None,
    people: str | Mapping[str, Any] | People | None = None,
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
    allow_code: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    dry_run: bool = False,
) -> pa.Table:
    """Search a space and return its trials as a table, best first.

    Everything that the table holds, and more, is in the run folder that the last line printed
    names; ``search.results.read_trials`` reads it again.

    Args:
        space: the space file.
        data: folder with session files, or its URI in an object store; None searches on a
            synthetic typist, under the space's ``demo`` section.
        small: take that section with data too: small models and short trainings, as many as fit
            into the time budget.
        subject: whose sessions; may be left out where the folder has one subject.
        split: emg2qwerty's split file.
        people: which users are held out, instead of the space's ``data.people``: as
            ``val=2,test=2``, ``{"val": 0.1, "test": 0.1}`` or by their names.
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
        allow_code: import code of its own that the space names, wherever it lies.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.
        dry_run: print what the search would do, train nothing and write nothing.

    Returns:
        One row a trial: rank, architecture, val_cer (%), epochs, state, parameters, every setting.
        No rows after a dry run.

    Raises:
        ValueError: the space, the data or an option is wrong; nothing has started then.
        SearchFailedError: every trial failed, or the disk is full.
        EngineError: Ray could not be started; a kind of ``SearchFailedError``.
    """
    console = Console(quiet=quiet)
    place, parent = _storage(storage, out)
    space = local_path(space)
    if confirm is not None:
        check_options(confirm, repeats)
    if small and not has_demo(space):
        raise ValueError(f"--small takes the demo section of a space, and {space} has none")
    options: dict[str, object] = {
        "search.trials": trials,
        "search.time_budget": time_budget,
        "training.epochs": epochs,
        "search.seed": seed,
        "search.repeats": repeats if confirm is None else None,
    }
    if people is not None:
        chosen = read_people(people)
        options["data.people"] = json.dumps(chosen.model_dump(mode="json"))
        if split is not None:
            raise ValueError(f"--people {chosen} and --split {split} both divide: leave one out")
    plan = plan_search(
        load_space(
            space,
            demo=small or data is None,
            overrides=[*given_options(options), *several(overrides)],
        ),
        space,
        console,
        data=data,
        subject=subject,
        split=split,
        resources=(cpus_per_trial, gpus_per_trial),
        address=address,
        results=(parent, place),
        warm_start=several(warm_start),
        writes=not dry_run,
        # Somebody waits for a demo and for a first look.
        fits=(small or data is None) and trials is None and not _names_trials(overrides),
    )
    if dry_run:
        show(console, plan)
        if confirm is not None:
            tell_confirmation(console, plan.schedule, confirm, repeats)
        return pa.table({})
    folder = conduct(plan, console, verbose=verbose)
    if confirm is not None and not folder.is_interrupted:
        confirm_winners(folder.path, top=confirm, repeats=repeats, address=address, quiet=quiet)
    return read_trials(folder.path)


@asks_for_code
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
    allow_code: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    dry_run: bool = False,
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
        allow_code: import code of its own that the run names, wherever it lies.
        quiet: print nothing.
        verbose: also print a line for each epoch, and what Ray and the trials' processes say.
        dry_run: print what is left to do, train nothing and write nothing.

    Returns:
        As ``search``.

    Raises:
        ValueError: it is not a run folder, has no snapshot, or its session files are gone.
    """
    console = Console(quiet=quiet)
    folder = _reopen(run, local_path(out), writes=not dry_run)
    if not dry_run:
        check_own(folder.path)
    refuse_confirmation(folder.path, folder.read_environment())
    if folder.trials:
        check_snapshot(folder)
    budget = _time_left(folder) if time_budget is None else time_budget
    plan = plan_rest(
        folder,
        console,
        data=data,
        add_trials=add_trials,
        budget=budget,
        asked=(cpus_per_trial, gpus_per_trial),
        address=address,
        writes=not dry_run,
    )
    if dry_run:
        show(console, plan, folder)
        return pa.table({})
    return read_trials(conduct(plan, console, folder, verbose=verbose).path)


def _names_trials(overrides: str | Sequence[str]) -> bool:
    return any(text.startswith("search.trials") for text in several(overrides))


def _time_left(folder: RunFolder) -> float | None:
    """Return the seconds left of a search's time budget; None: it has none, or spent it."""
    budget = load_space(folder.path / "space.yaml", imports=False).search.time_budget
    endings = (trial.ending for trial in folder.trials.values())
    spent = any(each is not None and each.why in (Why.TIME_BUDGET, Why.IN_TIME) for each in endings)
    if budget is None or spent or folder.elapsed >= budget:
        return None
    return budget - folder.elapsed


def _storage(storage: str | Path | None, out: str | Path) -> tuple[Place | None, Path]:
    """Return the object store, if that is where results go, and the folder for run folders."""
    if storage is None:
        return None, local_path(out)
    if is_uri(storage):
        return Place(str(storage).rstrip("/")), local_path(out)
    return None, local_path(storage)


def _reopen(run: str | Path, out: Path, writes: bool = True) -> RunFolder:
    """Open a run folder of this machine, or fetch one from storage to ``out``."""
    if not is_uri(run):
        path = local_path(run)
        folder = RunFolder.open(path)
        storage = folder.read_environment().get("storage")
        return RunFolder.open(path, Place(storage)) if storage else folder
    if not writes:
        raise ValueError(
            f"--dry-run: {run}: bring it to this machine first: python -m search.storage fetch "
            f"{shlex.quote(str(run))}"
        )
    place = Place(str(run).rstrip("/"))
    path = out / place.name
    if path.is_dir() and RunFolder.open(path).read_environment().get("storage") != place.uri:
        raise ValueError(
            f"{path}: is another search than {place.uri}: give --out a folder to fetch it to"
        )
    with running(path) if path.is_dir() else contextlib.nullcontext():
        fetch(place, path)
    return RunFolder.open(path, place)
