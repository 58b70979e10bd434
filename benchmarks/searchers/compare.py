"""Searchers side by side on recorded trainings: CER above the best there was, at equal budgets.

Each searcher gets the same draws of the same trainings, and is driven through its own public
interface. Searchers that suggest by settings get the nearest training that is still free. With
``--venvs DIR`` other libraries are installed into environments there and played too. With
``--record`` table, picture and results are written beside this file's folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure, Scope
from benchmarks.searchers import optuna_alone, own
from benchmarks.searchers.problem import Event, Problem
from benchmarks.searchers.report import write_report
from benchmarks.searchers.score import Played, interval
from benchmarks.searchers.tables import TABLES, draw, recorded
from benchmarks.searchers.venvs import LIBRARIES, Library, python_of, run_in

REPEATS = 20
SLOTS = (1, 4)
SHORT = ("emgsearch", "emgsearch, trials in random order", "random search", "Ray Tune: ASHA")
HERE = own.PLAYERS | optuna_alone.PLAYERS


def problems(repeats: int, short: bool = False) -> list[Problem]:
    """Return the searches that every searcher plays."""
    tables = TABLES[1:2] if short else TABLES
    slots = SLOTS[-1:] if short else SLOTS
    return [
        draw(table, data, repeat, many)
        for table in tables
        for data in [recorded(table)]
        for many in slots
        for repeat in range(repeats)
    ]


def played_here(name: str, given: Sequence[Problem]) -> Played:
    """Play a searcher that this project's own environment has."""
    module = own if name in own.PLAYERS else optuna_alone
    found = Played(name, module.VERSIONS)
    for problem in given:
        begin = time.process_time()
        events = module.PLAYERS[name](problem)
        found.add(problem, events, time.process_time() - begin)
    return found


def played_there(library: Library, given: Sequence[Problem], folder: Path) -> Iterator[Played]:
    """Play the searchers of a library in its environment; what was played there is not again."""
    text = "".join(problem.dump() + "\n" for problem in given)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / f"problems-{key}.jsonl"
    listed.write_text(text)
    for name in library.players:
        found = Played(name)
        results = folder / f"{name.replace(': ', '-').replace(' ', '-')}-{key}.jsonl"
        try:
            python = python_of(library, folder)
            module = ("benchmarks.searchers.play", library.module)
            run_in(python, *module, name, str(listed), str(results))
            for problem, line in zip(given, results.read_text().splitlines(), strict=True):
                told = json.loads(line)
                found.versions = told["versions"]
                found.add(problem, [Event(*each) for each in told["events"]], told["seconds"])
        except OSError as error:
            found.missing = str(error)
        yield found


def play_all(given: Sequence[Problem], short: bool, venvs: Path | None) -> Iterator[Played]:
    """Play every searcher that there is."""
    for name in SHORT if short else HERE:
        yield played_here(name, given)
    for library in () if short else LIBRARIES:
        if venvs is not None:
            yield from played_there(library, given, venvs)
        else:
            for name in library.players:
                yield Played(name, missing="needs --venvs")


def run(scope: Scope) -> Iterator[Figure]:
    """Yield each searcher's share of all epochs until it was within 0.4 points of the best."""
    given = problems(2 if scope.short else REPEATS, scope.short)
    found = list(play_all(given, scope.short, scope.venvs))
    if scope.folder is not None:
        write_report(found, scope.folder)
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
