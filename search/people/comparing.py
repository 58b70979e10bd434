"""Trains what is missing of a comparison over people, and reads their test sessions with all."""

from __future__ import annotations

import contextlib
import functools
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from emgmodels.own_code import asks_for_code
from emgmodels.saying import counted
from search.engine.resources import resources_asked
from search.evaluate.looks import looks, new_look, note_look
from search.people.comparison import FOLDER, Comparison, winner_of
from search.people.output import KINDS, STEM, check_files, over_people, title_of, write_files
from search.people.persons import find_people
from search.people.reading import read_people
from search.people.results import read_found, summaries, write_found
from search.people.trainings import (
    TUNED,
    WAYS,
    ZERO_SHOT,
    fine_tuning,
    from_scratch,
    trainings,
)
from search.report.display.words import duration, say, with_room
from search.results.folder import RunFolder
from search.results.own_files import check_own
from search.results.record import FAILED
from search.results.session_files import is_synthetic
from search.run.conduct import conduct
from search.run.confirm import refuse_confirmation
from search.run.inside import COMPARED, folder_inside
from search.run.plan import resolve_resources
from search.storage import is_uri, local_path


@asks_for_code
def compare_people(
    run: str | Path,
    *,
    data: str | Path | None = None,
    users: Sequence[str] = (),
    minutes: Sequence[float] = (2, 5, 10),
    epochs: int | None = None,
    training: str | Path | None = None,
    seed: int | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    dry_run: bool = False,
    allow_code: bool = False,
    quiet: bool = False,
) -> pa.Table:
    """Compare what a search's winner reads of people that it has never seen.

    Args:
        run: the run folder.
        data: folder with their session files; None: as the last time.
        users: whose; none: people with test sessions in its split and none that it learnt from.
        minutes: of own data; all of it comes by itself.
        epochs: of each training, instead of the winner's.
        training: a training's YAML whose ``training`` section fine-tuning takes.
        seed: of all trainings, instead of the search's.
        cpus_per_trial: cores of a training, instead of what the search gave it.
        gpus_per_trial: GPUs of a training, instead of what the search gave it.
        address: a running Ray cluster's address.
        dry_run: print what would be trained; train and write nothing.
        allow_code: import code of its own that the run names, wherever it lies.
        quiet: print nothing.

    Returns:
        One row a person, way and amount of data, with the test CER; of earlier calls too. No rows
        of what was not trained, as after a dry run.

    Raises:
        ValueError: it is not a run folder, it has no checkpoint, or people or options are wrong.
        SearchFailedError: every training failed, or the disk is full.
    """
    console = Console(quiet=quiet)
    folder = RunFolder.open(local_path(run))
    facts = folder.read_environment()
    refuse_confirmation(folder.path, facts)
    if not dry_run:
        check_own(folder.path)
    into = folder_inside(folder, facts, FOLDER, COMPARED)
    if not dry_run:
        check_files(into.path)
    place = _data(data, folder.path, into)
    # Which sessions test follows from the search's seed: other seeds of training share them.
    drawn = facts.get("seed", 0)
    people = find_people(place, folder.path, facts, users, drawn)
    winner, start = winner_of(folder)
    seed = drawn if seed is None else seed
    scratch = from_scratch(start.config, seed, epochs)
    source = None if training is None else local_path(training)
    tuned = fine_tuning(start.config, start, seed, epochs, source)
    listed = list(trainings(people, minutes, scratch, tuned))
    compared = Comparison(folder, into, winner, start, people, listed)
    compared.check_same()
    left = compared.missing()
    asked = resources_asked(facts, cpus_per_trial, gpus_per_trial)
    given = None
    if left:
        with contextlib.suppress(ValueError) if dry_run else contextlib.nullcontext():
            given = resolve_resources(*asked, address)
    _introduce(console, compared, len(left), compared.seconds(left, facts, given))
    close = functools.partial(_close, compared)
    if left and not dry_run:
        plan = compared.plan(left, facts, place, asked, given, address)
        into.path.mkdir(exist_ok=True)
        conduct(plan, console, into, close=close)
    elif not dry_run:
        close(console, into)
    found = read_found(into.path)
    return pa.table({}) if dry_run or not found else write_found(into.path, found)


_WORSE = (
    "note: fine-tuned, the winner reads worse than as it is: these sessions are few, or alike. "
    "docs/newcomers.md names what helps: more sessions, another training, the norm of each session"
)


def _data(data: str | Path | None, run: Path, into: RunFolder) -> Path:
    """Return the folder with the people's sessions."""
    if data is None:
        known = into.read_environment() if (into.path / "environment.json").is_file() else {}
        if not known.get("data"):
            raise ValueError(
                f"--data: name the folder with session files of people: {run} has compared none yet"
            )
        return Path(known["data"])
    if is_uri(data):
        raise ValueError(f"--data {data}: bring the sessions to a folder that all machines share")
    return local_path(data)


def _introduce(console: Console, compared: Comparison, left: int, seconds: float | None) -> None:
    users = ", ".join(person.user for person in compared.people)
    lines = [
        f"{compared.winner.name} of {compared.run.path} on "
        f"{counted(len(compared.people), 'person', 'people')}: {users}",
        f"{counted(len(compared.trainings), 'training')}, {left} of them left, into "
        f"{compared.into.path}",
    ]
    if seconds is not None:
        takes = f"Training takes about {duration(seconds)}"
        lines.append(f"{takes}, if epochs take what they took in the search.")
    if left:
        lines.append("Ctrl-C ends it with what is complete; the same command goes on.")
    for line in lines:
        say(console, line)


def _close(compared: Comparison, console: Console, into: RunFolder) -> None:
    """Read the test sessions with all models, write and print what was found."""
    states = {trial.config: trial.state for trial in compared.into.trials.values()}
    again = f"    python -m search.people {shlex.quote(str(compared.run.path))}"
    # One that failed would fail again, and keeps nobody from the others' results.
    left = [each for _, each in compared.missing() if states.get(each.config) != FAILED]
    if left:
        say(
            console,
            f"{counted(len(left), 'training is', 'trainings are')} missing; to go on\n{again}",
        )
        return
    candidates = list(compared.candidates())
    if lacking := len(compared.trainings) + len(compared.people) - len(candidates):
        say(
            console,
            f"note: {counted(lacking, 'training has', 'trainings have')} no model; failed ones "
            f"begin again with\n{again}",
        )
    found = read_found(into.path)
    for each in read_people(candidates, found, functools.partial(_note, compared)):
        found = [*found, each]
        write_found(into.path, found)  # at once: each model reads a test session once
    known = {each.key: each for each in found}
    shown = [known[each.key] for each in candidates if each.key in known]
    synthetic = "synthetic " if is_synthetic(compared.run.read_environment()) else ""
    people = "person" if len(compared.people) == 1 else "people"
    epochs = sorted({each.config.training.epochs for each in compared.trainings})
    trained = f"trained for {' and '.join(counted(each, 'epoch') for each in epochs)}"
    data = f"{len(compared.people)} {synthetic}{people}, each on own test sessions; {trained}"
    title = title_of(compared.winner.name)
    write_files(into.path, shown, title, data)
    console = with_room(console)
    console.print(over_people(shown).rich(f"{title}: {data}", console.width))
    means = {each.way: each.mean for each in summaries(shown, WAYS)}  # of all data, which is last
    if not lacking and means.get(TUNED, 0.0) > means.get(ZERO_SHOT, math.inf):
        say(console, _WORSE)
    files = ", ".join(f"{STEM}.{kind}" for kind in (*KINDS, "parquet"))
    say(console, f"In {into.path}: {files}")
    say(console, f"The test sessions have been looked at; {compared.run.path} has noted when.")
    into.send()


def _note(compared: Comparison, paths: Sequence[Path]) -> None:
    """Note in the search's folder that test sessions are going to be opened."""
    run, look = compared.run.path, new_look([compared.winner.number])
    note_look(run, looks(run), {**look, "sessions": {"test": [path.stem for path in paths]}})
