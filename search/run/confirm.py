"""Trains the best of a search again, with several seeds each, and says which differ for certain.

python -m search.run spaces/deep.yaml --confirm 3 --repeats 5      at the end of a search
python -m search.run runs/deep-001 --confirm 3 --repeats 5         of a search that is over

The lowest CER of many trials is partly luck, of its seed and of its validation windows. Here every
winner starts anew with seeds that the search did not use, and is trained to its last epoch. The
trainings have a run folder of their own, ``RUN/confirm``; ``RUN/confirm.parquet`` and ``.csv`` hold
their ranking. What is complete there is not trained again, so the same command goes on after an
interruption, and a higher ``--repeats`` adds seeds.
"""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console

from emgmodels.atomic import whole
from emgmodels.config import Config
from search.display import seed_table
from search.display.console import Progress
from search.display.tensorboard import TrialBoards
from search.display.words import say
from search.engine.cluster_check import check_cluster
from search.engine.failures import SearchFailedError
from search.engine.fixed_list import ListedConfigs
from search.engine.ray_session import engine
from search.engine.recorder import Recorder
from search.engine.resources import Resources, choose_resources, resources_asked
from search.engine.schedulers import make_scheduler
from search.engine.trial import TrialData, recordings
from search.engine.tuning import run_trials
from search.results import seeds
from search.results.facts import SPLIT
from search.results.folder import RunFolder
from search.results.lock import running
from search.results.own_files import check_own, unshare
from search.results.record import COMPLETE, STOPPED, TrialRecord
from search.results.session_files import is_synthetic
from search.run.sessions import sessions_again
from search.sampler.samplers import trial_seed
from search.space import load_space
from search.storage import ENGINE_FOLDER, Place, local_path

FOLDER = "confirm"
"""Run folder of the trainings, inside that of the search."""
_REPEATS = 5


def confirm_winners(
    run: str | Path,
    *,
    data: str | Path | None = None,
    top: int = 3,
    repeats: int | None = None,
    address: str | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    quiet: bool = False,
) -> pa.Table:
    """Train the best trials of a search again and compare them.

    Args:
        run: the run folder of the search.
        data: folder that holds its session files now, or its URI; None: where they were.
        top: how many of its trials, of different configurations.
        repeats: trainings of each, with a seed of its own; without it, 5.
        address: a running Ray cluster's address.
        cpus_per_trial: cores of a training, instead of what the search gave it.
        gpus_per_trial: GPUs of a training, or a fraction, instead of what the search gave it.
        quiet: print nothing.

    Returns:
        One row a configuration, the lowest mean CER first: ``seeds.table`` with the search's own
        ``trial`` and ``search_cer``.

    Raises:
        ValueError: it is not a run folder, no trial has a CER, or an option is out of range.
        SearchFailedError: every training failed, or the disk is full.
    """
    console = Console(quiet=quiet)
    repeats = check_options(top, repeats)
    folder = RunFolder.open(local_path(run))
    check_own(folder.path)
    winners = _winners(folder, top)
    facts = folder.read_environment()
    refuse_confirmation(folder.path, facts)
    if facts.get("storage"):
        folder = RunFolder.open(folder.path, Place(facts["storage"]))
    space = load_space(folder.path / "space.yaml")
    trial_data, split = sessions_again(folder.path, facts, data, space)
    recordings(trial_data)
    cpus, gpus = resources_asked(facts, cpus_per_trial, gpus_per_trial)
    if address is None:
        choose_resources(cpus, gpus, cluster=False)
    facts |= {"split": split, "seed": facts.get("seed", space.search.seed)}
    into = _open(folder, facts, repeats)
    failure = ""
    plan = list(_missing(into, winners, repeats, facts["seed"]))
    if plan:
        for line in (
            f"Confirming the best {len(winners)} of {folder.path} with {repeats} seeds each: "
            f"{len(plan)} trainings to the end, into {into.path}",
            "Ctrl-C ends it with what is complete; the same command goes on.",
        ):
            say(console, line)
        with engine(address, cpus), running(into.path):
            resources = choose_resources(cpus, gpus, cluster=address is not None)
            known = into.read_environment()
            into.write_environment({**known, "resources_per_trial": asdict(resources)})
            watch: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
            if address is not None:
                watch = check_cluster(
                    trial_data, resources, into.mirror.place if into.mirror else into.path, console
                )
            with watch:
                failure = _train(into, plan, trial_data, resources, console)
    table = _write(folder, into)
    missing = len(list(_missing(into, winners, repeats, facts["seed"])))
    _show(console, folder, table, missing)
    if failure:
        raise SearchFailedError(failure)
    return table


def check_options(top: int, repeats: int | None) -> int:
    """Return with how many seeds winners are confirmed.

    Raises:
        ValueError: so many winners cannot be confirmed with so many seeds.
    """
    repeats = _REPEATS if repeats is None else repeats
    if top < 1:
        raise ValueError(f"--confirm {top}: must be 1 or more, the best so many")
    if repeats < 2:
        raise ValueError(f"--repeats {repeats}: must be 2 or more, to see how far seeds differ")
    return repeats


def refuse_confirmation(path: Path, facts: Mapping[str, Any]) -> None:
    """Raise ValueError for the folder of a confirmation where that of a search is asked for."""
    if FOLDER in facts:
        run = path.absolute().parent  # wherever both lie now
        raise ValueError(
            f"{path}: holds the trainings that confirm {run}; to go on with them: "
            f"python -m search.run {shlex.quote(str(run))} --confirm K --repeats N"
        )


def _winners(folder: RunFolder, top: int) -> list[TrialRecord]:
    """Return the best trials of different configurations."""
    found: dict[Any, TrialRecord] = {}
    for trial in folder.ranking():
        if trial.best and len(found) < top:
            found.setdefault(seeds.configuration(trial.config), trial)
    if not found:
        raise ValueError(f"{folder.path}: no trial has a validation CER, so there is no winner")
    return list(found.values())


def _open(folder: RunFolder, facts: dict[str, Any], repeats: int) -> RunFolder:
    """Return the folder of the trainings, as far as there are any."""
    path = folder.path / FOLDER
    if path.is_symlink() or (path.exists() and not _is_own(path)):
        raise ValueError(f"{path}: was not written by a confirmation: move it elsewhere")
    path.mkdir(exist_ok=True)
    check_own(path)
    unshare(path)
    space = load_space(folder.path / "space.yaml")
    search = space.search
    settings = {"sampler": "random", "scheduler": "none", "repeats": repeats}
    settings |= {"save_every": search.save_every, "checkpoints": search.checkpoints}
    RunFolder(path).write_space(space.resolved() | {"search": settings})
    if (folder.path / SPLIT).is_file():
        RunFolder(path).write_split((folder.path / SPLIT).read_text(encoding="utf-8"))
    storage = Place(facts["storage"]) / FOLDER if facts.get("storage") else None
    into = RunFolder.open(path, storage)
    kept = ("seed", "subject", "synthetic", "split", "resources_per_trial")
    known = {name: facts[name] for name in kept if name in facts}
    into.write_environment({**known, "storage": storage and storage.uri, FOLDER: folder.path.name})
    return into


def _is_own(path: Path) -> bool:
    """Return whether a folder is that of a confirmation, or one that nothing was written to yet."""
    if (path / "environment.json").is_file():
        return FOLDER in RunFolder(path).read_environment()
    return path.is_dir() and {each.name for each in path.iterdir()} <= {"space.yaml", SPLIT}


def _is_done(trial: TrialRecord) -> bool:
    """Return whether a training ended by itself; one that diverged was stopped."""
    return trial.state in (COMPLETE, STOPPED)


def _missing(
    into: RunFolder, winners: Sequence[TrialRecord], repeats: int, seed: int
) -> Iterator[tuple[int, Config]]:
    """Yield number and configuration of each training that is not done, seed by seed."""
    known = {
        (*seeds.configuration(trial.config), trial.config.seed): trial
        for trial in into.trials.values()
    }
    free = itertools.count(max(into.trials, default=-1) + 1)
    for repeat in range(1, repeats + 1):
        own = trial_seed(seed, -repeat)  # a trial's own number is never negative
        for winner in winners:
            begun = known.get((*seeds.configuration(winner.config), own))
            if begun is None or not _is_done(begun):
                number = next(free) if begun is None else begun.number
                name = f"{winner.config.name}-seed-{repeat}"
                yield number, winner.config.model_copy(update={"seed": own, "name": name})


def _train(
    into: RunFolder,
    plan: Sequence[tuple[int, Config]],
    data: TrialData,
    resources: Resources,
    console: Console,
) -> str:
    """Train what is planned, and return why it failed as a whole, if it did."""
    shutil.rmtree(into.path / ENGINE_FOLDER, ignore_errors=True)
    space = load_space(into.path / "space.yaml")
    scheduler = make_scheduler("none", max_epochs=max(c.training.epochs for _, c in plan))
    facts = into.read_environment()
    on = "synthetic data" if is_synthetic(facts) else f"subject {facts.get('subject')}"
    boards = TrialBoards(into.path / "tensorboard", space.parameters(), on)
    done = sum(map(_is_done, into.trials.values()))
    with Progress(console, len(plan) + done) as progress:
        sampler = ListedConfigs(plan, space.search)
        recorder = Recorder(into, boards, progress, scheduler, space.search)
        run_trials(sampler, scheduler, data, resources, recorder)
    return recorder.failure


def _write(folder: RunFolder, into: RunFolder) -> pa.Table:
    """Write the ranking over seeds beside the tables of the search, and return it."""
    groups = seeds.by_configuration(trial for trial in into.trials.values() if _is_done(trial))
    found = {seeds.configuration(trial.config): trial for trial in reversed(folder.ranking())}
    origins = [found[seeds.configuration(group.config)] for group in groups]
    cers = [trial.best["val_cer"] if trial.best else None for trial in origins]
    table = seeds.table(groups)
    table = table.add_column(1, "trial", pa.array([t.number for t in origins], pa.int64()))
    table = table.add_column(3, "search_cer", pa.array(cers, pa.float64()))
    with whole(folder.path / "confirm.parquet") as scratch:
        pa.parquet.write_table(table, scratch)
    with whole(folder.path / "confirm.csv") as scratch:
        pa.csv.write_csv(table, scratch)
    into.send()
    folder.send("confirm.parquet", "confirm.csv")
    return table


def _show(console: Console, folder: RunFolder, table: pa.Table, missing: int) -> None:
    if table.num_rows:
        seed_table.show(console, "The best again, by mean CER over seeds", table.to_pylist())
    if missing:
        say(console, f"{missing} trainings are missing: the same command goes on with them.")
    say(console, f"In {folder.path}: confirm.csv, confirm.parquet; trainings in {FOLDER}/")
