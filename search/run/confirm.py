"""Trains the best of a search again, with several seeds each, and says which differ for certain.

python -m search.run spaces/deep.yaml --confirm 3 --repeats 5      at the end of a search
python -m search.run runs/deep-001 --confirm 3 --repeats 5         of a search that is over

The lowest CER of many trials is partly luck, of its seed and of its validation windows. Here every
winner starts anew with seeds that the search did not use, and is trained to its last epoch, or for
what a trial of the search may cost (``max_seconds``, ``max_macs``). The trainings have a run folder
of their own, ``RUN/confirm``; ``RUN/confirm.parquet`` and ``.csv`` hold their ranking. What is
complete there is not trained again, so the same command goes on after an interruption, and a higher
``--repeats`` adds seeds.
"""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console

from emgmodels.atomic import whole
from emgmodels.config import Config
from emgmodels.own_code import asks_for_code
from emgmodels.saying import counted
from emgmodels.scoring import PEOPLE
from search.engine.resources import resources_asked
from search.halving.rungs import Schedule
from search.report.display import seed_table
from search.report.display.words import say
from search.results import seeds
from search.results.facts import SPLIT
from search.results.folder import RunFolder
from search.results.own_files import check_own
from search.results.record import TrialRecord
from search.run.conduct import conduct
from search.run.cost import in_words
from search.run.dry_run import LABEL, show
from search.run.inside import COMPARED, folder_inside, is_done
from search.run.plan import Plan, resolve_resources, start_of
from search.run.sessions import open_again, opener_of, sessions_again
from search.sampler.samplers import trial_seed
from search.space import SearchConfig, load_space
from search.storage import Place, local_path

FOLDER = "confirm"
"""Run folder of the trainings, inside that of the search."""
TABLE = "confirm.parquet"
"""The ranking over seeds, in the run folder of the search."""
_REPEATS = 5


@asks_for_code
def confirm_winners(
    run: str | Path,
    *,
    data: str | Path | None = None,
    top: int = 3,
    repeats: int | None = None,
    address: str | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    allow_code: bool = False,
    quiet: bool = False,
    dry_run: bool = False,
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
        allow_code: import code of its own that the run names, wherever it lies.
        quiet: print nothing.
        dry_run: print what would be trained, train nothing and write nothing.

    Returns:
        One row a configuration, the lowest mean CER first: ``seeds.table`` with the search's own
        ``trial`` and ``search_cer``. No rows after a dry run.

    Raises:
        ValueError: it is not a run folder, no trial has a CER, or an option is out of range.
        SearchFailedError: every training failed, or the disk is full.
    """
    console = Console(quiet=quiet)
    repeats = check_options(top, repeats)
    folder = RunFolder.open(local_path(run))
    if not dry_run:
        check_own(folder.path)
    winners = _winners(folder, top)
    facts = folder.read_environment()
    refuse_confirmation(folder.path, facts)
    if facts.get("storage"):
        folder = RunFolder.open(folder.path, Place(facts["storage"]))
    asked = cpus_per_trial, gpus_per_trial
    plan, into = _plan(folder, winners, repeats, facts, data, asked, address, writes=not dry_run)
    if dry_run:
        show(console, plan, into)
        return pa.table({})
    if not plan.listed:
        return _close(folder, winners, repeats, plan.facts["seed"], console, into)
    for line in (
        f"Confirming the best {len(winners)} of {folder.path} with {counted(repeats, 'seed')} "
        f"each: {counted(len(plan.listed), 'training')} {_length(plan.schedule)}, into {into.path}",
        "Ctrl-C ends it with what is complete; the same command goes on.",
    ):
        say(console, line)
    into.path.mkdir(exist_ok=True)
    close = functools.partial(_close, folder, winners, repeats, plan.facts["seed"])
    conduct(plan, console, into, close=close)
    return pa.parquet.read_table(folder.path / TABLE)


def tell_confirmation(console: Console, schedule: Schedule, top: int, repeats: int | None) -> None:
    """Print what confirming the winners of a planned search would train."""
    repeats = check_options(top, repeats)
    trainings, epochs = top * repeats, schedule.epochs
    length = f"of {counted(epochs, 'epoch')}, {trainings * epochs:,} in all"
    if schedule.resource != "epochs":
        length = _length(schedule)
    say(
        console,
        f"  {'confirmation':{LABEL}}the best {top} again with {counted(repeats, 'seed')} each: "
        f"{counted(trainings, 'training')} {length}",
        hanging=2 + LABEL,
    )


def _length(schedule: Schedule) -> str:
    """Say how long trainings go on: to the end, or with what a trial of the search may cost."""
    if schedule.resource == "epochs" or schedule.most is None:
        return "to the end"
    most = in_words(schedule.most, schedule.resource)
    return f"for {most} each, as long as a trial of the search may"


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
    run = path.absolute().parent  # wherever both lie now
    if FOLDER in facts:
        raise ValueError(
            f"{path}: holds the trainings that confirm {run}; to go on with them: "
            f"python -m search.run {shlex.quote(str(run))} --confirm K --repeats N"
        )
    if COMPARED in facts:
        raise ValueError(
            f"{path}: holds trainings on people, of {run}; to go on with them: "
            f"python -m search.people {shlex.quote(str(run))}"
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


def _plan(
    folder: RunFolder,
    winners: Sequence[TrialRecord],
    repeats: int,
    facts: dict[str, Any],
    data: str | Path | None,
    asked: tuple[float | None, float | None],
    address: str | None,
    writes: bool,
) -> tuple[Plan, RunFolder]:
    """Return what is left to train of a confirmation, and the folder of its trainings."""
    space = load_space(folder.path / "space.yaml")
    trial_data, split = sessions_again(folder.path, facts, data, space, writes)
    opened = open_again(trial_data, opener_of(space, writes))
    cpus, gpus = resources_asked(facts, *asked)
    given = resolve_resources(cpus, gpus, address)
    into, seed = folder_inside(folder, facts, FOLDER, FOLDER), facts.get("seed", space.search.seed)
    settings: dict[str, Any] = {"sampler": "random", "scheduler": "none", "repeats": repeats}
    scheduler = space.search.scheduler
    if scheduler.resource in ("seconds", "macs"):
        # Ranked were trainings of that cost, and whole ones would be other trainings.
        settings["scheduler"] = {"name": scheduler.name, **scheduler.options}
    settings |= {"save_every": space.search.save_every, "checkpoints": space.search.checkpoints}
    settings |= {} if space.search.rank_by is None else {"rank_by": space.search.rank_by}
    known = ("code", "subject", "synthetic", PEOPLE)
    kept: dict[str, Any] = {key: facts[key] for key in known if key in facts}
    split_of = folder.path / SPLIT
    plan = Plan(
        space=replace(space, search=SearchConfig.model_validate(settings)),
        opened=opened,
        data=trial_data,
        asked=(cpus, None if gpus is None else float(gpus)),
        resources=given,
        address=address,
        place=into.mirror.place if into.mirror else None,
        facts={**kept, "seed": seed, "split": split, FOLDER: folder.path.name},
        written=space.resolved() | {"search": settings},
        listed=list(_missing(into, winners, repeats, seed)),
        start=start_of(space),
        split=split_of.read_text(encoding="utf-8") if split_of.is_file() else "",
    )
    return plan, into


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
            if begun is None or not is_done(begun):
                number = next(free) if begun is None else begun.number
                name = f"{winner.config.name}-seed-{repeat}"
                yield number, winner.config.model_copy(update={"seed": own, "name": name})


def _close(
    folder: RunFolder,
    winners: Sequence[TrialRecord],
    repeats: int,
    seed: int,
    console: Console,
    into: RunFolder,
) -> pa.Table:
    """Rank over seeds what is complete, write and print it."""
    table = _write(folder, into)
    _show(console, folder, table, len(list(_missing(into, winners, repeats, seed))))
    return table


def _write(folder: RunFolder, into: RunFolder) -> pa.Table:
    """Write the ranking over seeds beside the tables of the search, and return it."""
    groups = seeds.by_configuration(trial for trial in into.trials.values() if is_done(trial))
    found = {seeds.configuration(trial.config): trial for trial in reversed(folder.ranking())}
    origins = [found[seeds.configuration(group.config)] for group in groups]
    cers = [trial.best["val_cer"] if trial.best else None for trial in origins]
    table = seeds.table(groups, folder.scoring)
    table = table.add_column(1, "trial", pa.array([t.number for t in origins], pa.int64()))
    table = table.add_column(3, "search_cer", pa.array(cers, pa.float64()))
    with whole(folder.path / TABLE) as scratch:
        pa.parquet.write_table(table, scratch)
    with whole(folder.path / "confirm.csv") as scratch:
        pa.csv.write_csv(table, scratch)
    into.send()
    folder.send(TABLE, "confirm.csv")
    return table


def _show(console: Console, folder: RunFolder, table: pa.Table, missing: int) -> None:
    if table.num_rows:
        seed_table.show(console, "The best again, by mean CER over seeds", table.to_pylist())
    if missing:
        say(
            console,
            f"{counted(missing, 'training is', 'trainings are')} missing: the same command goes "
            f"on.",
        )
    say(console, f"In {folder.path}: confirm.csv, confirm.parquet; trainings in {FOLDER}/")
