"""Searchers side by side on real trainings of a synthetic typist: lowest CER at equal budgets.

Each searcher gets the same space, sessions, seeds and number of epochs, and is driven as on
recorded trainings. What it suggests is trained, once for all searchers. Those of ``--venvs DIR``
run in environments of their own and ask this process for trainings. With ``--keep DIR`` trainings
are kept there, so that a benchmark that was killed goes on. With ``--record`` table,
picture and results are written beside this file's folder.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.measure import Figure, Scope
from benchmarks.searchers import optuna_alone, own
from benchmarks.searchers.live import BUDGET, SPACE, Live, live, searched_by
from benchmarks.searchers.live_report import Searched, by_name, searched, t_interval, write_report
from benchmarks.searchers.problem import Event, Problem
from benchmarks.searchers.trainings import Trainings
from benchmarks.searchers.venvs import LIBRARIES, python_of
from search.space import TypistConfig, load_space

NAMES = (
    "emgsearch",
    "emgsearch, trials in random order",
    "random search",
    "Ray Tune: ASHA",
    "Ray Tune: HyperBand",
    "Ray Tune: median",
    "Optuna: Hyperband pruner",
    "Optuna: median pruner",
)
SHORT = ("emgsearch", "random search")
SMALL = (
    "training.epochs=2",
    "training.aligned_start.epochs=1",
    "search.trials=4",
    "typist.sessions=2",
    "typist.minutes=0.25",
)
"""What a short run changes of the space: seconds of EMG, and few of everything."""
PLAYERS: dict[str, Callable[[Problem], list[Event]]] = own.PLAYERS | optuna_alone.PLAYERS


def run(scope: Scope) -> Iterator[Figure]:
    """Yield the lowest CER that each searcher found within its budget."""
    with tempfile.TemporaryDirectory() as scratch:
        found = list(search_all(scope, scope.keep or Path(scratch)))
    missing = () if scope.short or scope.venvs else LIBRARIES
    if scope.folder is not None:
        write_report(found, scope.folder)
    searches = by_name(found)
    ends = {name: t_interval([each.at(BUDGET) for each in of]) for name, of in searches.items()}
    for name, (mean, low, high) in ends.items():
        yield Figure(
            f"{name}: lowest CER after {100 * BUDGET:.0f} % of all epochs",
            mean,
            "%",
            None if name == NAMES[0] else ends[NAMES[0]][0],
            note=f"{low:.1f} to {high:.1f}" if scope.turns > 1 else "one seed",
        )
    for library in missing:
        for name in library.players:
            yield Figure(name, None, "", note="needs --venvs")


def search_all(scope: Scope, folder: Path) -> Iterator[Searched]:
    """Yield what each searcher came to with each seed, all searchers of the first seed first."""
    console = Console(stderr=True, highlight=False)
    overrides = SMALL if scope.short else ()
    typist = load_space(SPACE, overrides=overrides).typist or TypistConfig()
    for repeat in range(scope.turns):
        # Those of a seed before hold models in memory that nobody asks for again.
        trainings = Trainings(typist, folder)
        for name, play in _players(scope):
            problem = live(trainings, repeat, overrides)
            found = searched(name, problem, play(problem))
            if not scope.short:
                console.print(f"seed {repeat}, {name}: {found.cer[-1]:.1f} %")
            yield found


def _players(scope: Scope) -> Iterator[tuple[str, Callable[[Live], list[Event]]]]:
    """Yield what searches, by name: here, and in environments of other libraries."""
    for name in SHORT if scope.short else NAMES:
        yield name, PLAYERS[name]
    if scope.venvs is None or scope.short:
        return
    for library in LIBRARIES:
        python = python_of(library, scope.venvs)
        for name in library.players:
            yield name, functools.partial(searched_by, python, library.module, name)
