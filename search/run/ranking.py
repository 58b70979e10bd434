"""The last words of a search: its ranking, and where everything is."""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from emgmodels.installing import python_here
from emgmodels.network.summary import stream_objection
from emgmodels.notation import notation
from emgmodels.saying import counted
from emgmodels.training.result import LEARNT, UNLEARNT
from search.halving.ending import RULES, Why
from search.report.display import seed_table
from search.report.display.console import trials_table
from search.report.display.table import Table
from search.report.display.words import say
from search.report.people import FOLDED, users_table
from search.results import seeds
from search.results.facts import (
    PERSON_SESSIONS,
    PLANNED,
    code_options,
    fewest_held_out,
    left_out_command,
    people_command,
    start_points,
    training_command,
    trials_left_out,
)
from search.results.folder import RunFolder
from search.results.growing_tables import objectives_of
from search.results.people import IN_SHORT, TABLE
from search.results.reading import read_trials
from search.results.record import CUT_OFF, STOPPED, TrialRecord
from search.results.session_files import session_files
from search.results.trial_row import TrialRow, rows_of
from search.space.objectives import COLUMNS
from search.storage import is_uri

_SHOWN = 15
_COMPARED = 3
"""Trials of which a terminal has room for each user's CER."""
_FORMATS = {"val_cer": ".2f"}
"""Of objectives; all others are whole numbers."""


def print_ranking(console: Console, folder: RunFolder, synthetic: bool) -> None:
    """Print the best trials, what the search cost, and what to do next."""
    ranking = folder.ranking()
    python = python_here()
    allow = _allow(folder)
    again = f"    {python} -m search.run --resume {shlex.quote(str(folder.path))}{allow}"
    if not ranking:
        say(console, f"The search ended before its first trial began; to go on with it\n{again}")
        return
    data = "synthetic data" if synthetic else "this data"
    front = _front(folder, ranking)
    numbers = [row.number for row in front]
    table = trials_table(ranking[:_SHOWN], console.width, numbers)
    scoring = folder.scoring
    over = f", {IN_SHORT[scoring.by]}" if scoring else ""
    console.print(table.rich(f"Ranking by validation CER{over}, on {data}"))
    if len(ranking) > _SHOWN:
        say(console, f"... and {len(ranking) - _SHOWN} more in {folder.path / 'trials.csv'}")
    if front:
        table = _front_table(front, objectives_of(folder.path))
        console.print(table.rich("Pareto front: no other trial beats these"))
    if scoring and (folder.path / TABLE).is_file():
        _print_users(console, folder, ranking)
    _say_cost(console, ranking)
    groups = seeds.by_configuration(ranking)
    if len(groups) < len(ranking) and any(len(group.trials) > 1 for group in groups):
        rows = seeds.table(groups[:_SHOWN], folder.scoring).to_pylist()
        seed_table.show(console, f"Ranking by mean CER over seeds, on {data}", rows)
    if ranking[0].best:
        say(console, f"Best: {notation(ranking[0].config.model)}")
        for note in _beware(ranking, start_points(folder.path)):
            say(console, f"note: {note}")
    facts = folder.read_environment()
    never = _never_began(facts, len(ranking))
    if cut_off := [trial for trial in ranking if trial.state == CUT_OFF]:
        is_by_rule = any(trial.why in RULES for trial in cut_off)
        anew = ", where the rules of search.stop look at what comes after" if is_by_rule else ""
        cut = f"{counted(len(cut_off), 'was', 'were')} cut off"
        more = f", and {never}" if never else ""
        say(console, f"{cut} by the end of the search{more}; to go on{anew}\n{again}")
    elif never:
        say(console, f"{never}.")
    if left := trials_left_out(facts):
        more = left_out_command(folder.path) or ""
        say(console, f"{left} To train them too\n    {more.replace('python', python, 1)}")
    if not any(trial.best for trial in ranking):
        say(console, "No trial has a CER, so there is neither a best.yaml nor a checkpoint.")
    _say_where(console, folder)


def _print_users(console: Console, folder: RunFolder, ranking: Sequence[TrialRecord]) -> None:
    """Print what the best trials come to for each user that was validated on."""
    table = users_table(folder.path, [trial.number for trial in ranking[:_COMPARED]])
    worst = Table(table.headers, table.rows[:FOLDED], left=("user",))
    console.print(worst.rich("Validation users, the worst read first"))
    if len(table.rows) > FOLDED:
        say(console, f"... and {len(table.rows) - FOLDED} more in {folder.path / TABLE}")


def _say_cost(console: Console, ranking: Sequence[TrialRecord]) -> None:
    """Print what the search trained, and which checkpoints have other weights than are ranked."""
    ended = sum(trial.state == STOPPED for trial in ranking)
    cut_off = sum(trial.state == CUT_OFF for trial in ranking)
    cut = f", {cut_off} cut off" if cut_off else ""
    epochs = sum(trial.epoch for trial in ranking)
    whole = sum(trial.config.training.epochs for trial in ranking)
    say(
        console,
        f"{counted(len(ranking), 'trial')}, {ended} of them ended early{cut}; "
        f"{counted(epochs, 'epoch')} of the {whole} that training all to the end would have taken.",
    )
    for note in filter(None, (trial.kept_note for trial in ranking)):
        say(console, f"note: {note}")


def _say_where(console: Console, folder: RunFolder) -> None:
    """Print where everything is, and the commands that come next, as they can be pasted."""
    python, run = python_here(), shlex.quote(str(folder.path))
    boards = shlex.quote(str(folder.path / "tensorboard"))
    views = {
        "best.yaml": "the configuration of the winner",
        "tensorboard": f"{python} -m tensorboard.main --logdir {boards}",
    }
    lines = [
        f"    {name:<12} {view}" for name, view in views.items() if (folder.path / name).exists()
    ]
    tables = ("trials.csv", "trials.parquet", "curves.parquet", TABLE)
    there = ", ".join(name for name in tables if (folder.path / name).exists())
    lines.insert(0, f"    {there}    the tables")
    say(console, "\n".join([f"Everything is in {folder.path}:", *lines]))
    if not (folder.path / "best.yaml").exists():
        return
    lines = ["Next, the page with all of it, report.html:", f"    {python} -m search.report {run}"]
    if any((folder.path / "checkpoints").glob("*.pt")):
        evaluate = f"    {python} -m search.evaluate {run}{_allow(folder)}"
        lines += ["the winner on whole sessions:", evaluate]
        lines += _using(folder, python)
        if people := people_command(folder.path):
            lines += ["what a new person's own minutes add; it opens their test sessions:"]
            lines += [f"    {people.replace('python', python, 1)}"]
        elif fewest_held_out(folder.path):
            lines += [
                "What a new person's own minutes add, search.people tells where people are held "
                f"out for testing with {PERSON_SESSIONS} sessions each: docs/newcomers.md"
            ]
    again = training_command(folder.path).replace("python", python, 1)
    lines += ["to train the winner again, as in the search, into ./model.pt:"]
    lines += [f"    {again}"]
    say(console, "\n".join(lines))


def _never_began(facts: Mapping[str, Any], begun: int) -> str:
    """Say how many planned trials did not begin; empty where all did."""
    planned = facts.get(PLANNED, 0)
    if planned <= begun:
        return ""
    return f"{counted(planned - begun, 'planned trial')} of {planned} never began"


def _beware(ranking: Sequence[TrialRecord], given: int) -> Iterator[str]:
    """Yield what somebody who takes the best trial should know of it.

    Args:
        ranking: the trials, best first.
        given: first trials that the space named.
    """
    best = ranking[0]
    if best.number < given:
        suggested = sum(trial.number >= given for trial in ranking)
        others = counted(suggested, "suggestion was", "suggestions were")
        found = f"{others} no better" if suggested else "no other was tried"
        yield (
            f"the best is an architecture that the space names to start with (search.start_with); "
            f"{found}"
        )
    if best.ending is not None and best.why is Why.OUTRANKED:
        yield (
            f"a rung ended the best after epoch {best.epoch} of {best.config.training.epochs}: "
            f"rungs compare {best.ending.metric or 'the CER'} up to their epoch. best.yaml trains "
            f"it to its end"
        )
    if best.best and best.best["val_cer"] >= LEARNT:
        yield f"the best {UNLEARNT}"


def _using(folder: RunFolder, python: str) -> list[str]:
    """Return a command that reads with a model of the search: live, if one was kept that can."""
    session = ""
    with contextlib.suppress(ValueError, IndexError):
        session = session_files(folder.path, folder.read_environment(), "val")[0]
    ranking = folder.ranking()
    for trial in ranking if session else ():
        path = folder.path / "checkpoints" / f"{trial.slug}.pt"
        cer = trial.best["val_cer"] if trial.best else math.inf
        reads = cer < LEARNT and path.is_file()
        if reads and stream_objection(trial.config.model) is None:
            played = f"{shlex.quote(str(path))} {shlex.quote(session)} --seconds 20"
            name, whole = notation(trial.config.model, brief=True), trial.config.training.epochs
            part = f" after epoch {trial.epoch} of {whole}" if trial.epoch < whole else ""
            only = " (the winner cannot)" if stream_objection(ranking[0].config.model) else ""
            return [
                f"{name}, {cer:.1f} % CER{part}; 20 seconds as it reads live{only}:",
                f"    {python} -m emgmodels.stream {played}{_allow(folder)}",
            ]
    allowed = ", allow_code=True" if _allow(folder) else ""
    begin = f"import emgmodels; reader = emgmodels.load({str(folder.path)!r}{allowed}); "
    read = (
        f"from emgmodels.sessions import read_session; "
        f"print(reader(read_session({str(session)!r}).emg)[:70])"
        if session and not is_uri(session)
        else "print(reader.origin)"
    )
    return ["the winner, from Python:", f"    {python} -c {shlex.quote(begin + read)}"]


def _allow(folder: RunFolder) -> str:
    """Return the end of a command on a run that has code of its own, not in this folder."""
    return "".join(f" {option}" for option in code_options(folder.path))


def _front(folder: RunFolder, ranking: Sequence[TrialRecord]) -> list[TrialRow]:
    """Return the trials on the Pareto front of several objectives, the lowest CER first."""
    table = read_trials(folder.path)
    if "front" not in table.column_names:
        return []
    numbers = set(table.filter(table["front"])["trial"].to_pylist())
    return [row for row in rows_of(ranking, numbers) if row.on_front]


def _front_table(front: Sequence[TrialRow], objectives: Sequence[str]) -> Table:
    """Return what trials come to in each objective."""
    columns = {
        "trial": [f"{row.number:03d}" for row in front],
        "architecture": [row.label for row in front],
    }
    for name in objectives:
        kind = _FORMATS.get(name, ",.0f")
        columns[name] = [f"{getattr(row, COLUMNS[name]):{kind}}" for row in front]
    rows = list(zip(*columns.values(), strict=True))
    return Table(list(columns), rows, left=("architecture",), widest="architecture")


def send(console: Console, folder: RunFolder) -> None:
    """Copy what was written last to storage, and say where everything is."""
    folder.send()
    if folder.mirror is None:
        return
    uri = folder.mirror.place.uri
    if folder.unsent:
        say(
            console,
            f"note: not all of it could be copied to {uri}: {folder.unsent}: to try again, "
            f"python -m search.run --resume {shlex.quote(str(folder.path))}",
        )
    else:
        say(console, f"... and in {uri}: python -m search.storage fetch {shlex.quote(uri)}")
