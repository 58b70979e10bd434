"""Searchers side by side on recorded trainings: CER above the best there was, at equal budgets.

Each searcher gets the same draws of the same trainings, and is driven through its own public
interface. Searchers that suggest by settings get the nearest training that is still free. With
``--venvs DIR`` other libraries are installed into environments there and played too. With
``--record`` table, picture and results are written beside this file's folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure, Scope
from benchmarks.searchers import freeze_thaw, optuna_alone, own
from benchmarks.searchers.play import play
from benchmarks.searchers.problem import Event, Problem
from benchmarks.searchers.report import write_report
from benchmarks.searchers.score import Played, interval
from benchmarks.searchers.tables import TABLES, Table, draw, recorded
from benchmarks.searchers.venvs import LIBRARIES, Library, python_of, run_in

REPEATS = 20
SLOTS = (1, 4)
SHORT = ("emgsearch", "emgsearch, trials in random order", "random search", "Ray Tune: ASHA")
HERE = {
    name: module.__name__ for module in (own, freeze_thaw, optuna_alone) for name in module.PLAYERS
}
"""The module of each searcher that needs no other environment."""


def problems(repeats: int, short: bool = False, tables: Sequence[Table] = TABLES) -> list[Problem]:
    """Return the searches that searchers play, the first repeat of all of them first."""
    tables = tables[1:2] if short else tables
    slots = SLOTS[-1:] if short else SLOTS
    read = [(table, recorded(table)) for table in tables]
    return [
        draw(table, data, repeat, many)
        for repeat in range(repeats)
        for table, data in read
        for many in slots
    ]


def played(
    name: str, module: str, given: Sequence[Problem], folder: Path, library: Library | None = None
) -> Played:
    """Play a searcher; what was played before, with the same problems, is not played again.

    Args:
        name: the searcher.
        module: drives it.
        given: the problems.
        folder: keeps what is played, and the environments of libraries.
        library: in whose environment it is played; None: here.
    """
    found = Played(name)
    lines = [problem.dump() + "\n" for problem in given]
    # The first draws alone make the name, so that more repeats go on where fewer ended.
    first = "".join(lines[: sum(problem.repeat == 0 for problem in given)])
    stem = re.sub(r"\W+", "-", f"{name} {hashlib.sha256(first.encode()).hexdigest()[:12]}")
    folder.mkdir(parents=True, exist_ok=True)
    listed, results = folder / f"{stem}.problems", folder / f"{stem}.jsonl"
    listed.write_text("".join(lines))
    try:
        if library is None:
            play(module, name, listed, results)
        else:
            command = ("benchmarks.searchers.play", module, name, str(listed), str(results))
            run_in(python_of(library, folder), *command)
    except OSError as error:
        found.missing = str(error)
        return found
    for problem, line in zip(given, results.read_text().splitlines(), strict=False):
        told = json.loads(line)
        found.versions = told["versions"]
        found.add(problem, [Event(*each) for each in told["events"]], told["seconds"])
    return found


def play_all(short: bool, venvs: Path | None, tables: Sequence[Table] = TABLES) -> Iterator[Played]:
    """Play every searcher that there is."""
    repeats = 2 if short else REPEATS
    with tempfile.TemporaryDirectory() as scratch:
        folder = venvs or Path(scratch)
        for name in SHORT if short else HERE:
            yield played(name, HERE[name], problems(repeats, short, tables), folder)
        for library in () if short else LIBRARIES:
            for name in library.players:
                if venvs is None:
                    yield Played(name, missing="needs --venvs")
                else:
                    given = problems(min(repeats, library.repeats), tables=tables)
                    yield played(name, library.module, given, venvs, library)


def run(scope: Scope) -> Iterator[Figure]:
    """Yield each searcher's share of all epochs until it was within 0.4 points of the best."""
    yield from compare(scope, TABLES, "searchers")


def compare(scope: Scope, tables: Sequence[Table], name: str) -> Iterator[Figure]:
    """Yield the same of recorded sets; their tables and picture are named after a benchmark."""
    found = list(play_all(scope.short, scope.venvs, tables))
    if scope.folder is not None:
        write_report(found, scope.folder, tables, name)
    ours = found[0]
    for each in found:
        if each.missing:
            yield Figure(each.name, None, "", note=each.missing)
            continue
        shares = pooled(each)
        mean, low, high = interval(shares)
        versions = " ".join(f"{name} {version}" for name, version in each.versions.items())
        yield Figure(
            f"{each.name}: epochs until within 0.4 CER of the best",
            100 * mean,
            "%",
            None if each is ours else 100 * float(np.mean(pooled(ours))),
            note=f"{100 * low:.1f} to {100 * high:.1f}; {versions}".rstrip("; "),
        )


def pooled(played: Played) -> list[float]:
    """Return the shares of epochs until it was near the best, of all problems."""
    return [each.near() for outcomes in played.outcomes.values() for each in outcomes]
