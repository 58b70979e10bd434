"""The last words of a search: its ranking, and where everything is."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.table import Table

from emgmodels.notation import brief_notation, notation
from search.display import seed_table
from search.display.console import trials_table
from search.display.words import say
from search.results import seeds
from search.results.facts import training_command
from search.results.folder import RunFolder
from search.results.growing_tables import objectives_of
from search.results.reading import read_trials
from search.results.record import CUT_OFF, STOPPED
from search.space.objectives import COLUMNS

_SHOWN = 15
_FORMATS = {"val_cer": ".2f"}
"""Of objectives; all others are whole numbers."""


def print_ranking(console: Console, folder: RunFolder, synthetic: bool) -> None:
    """Print the best trials, what the search cost, and what to do next."""
    ranking = folder.ranking()
    if not ranking:
        say(
            console,
            f"The search ended before its first trial began; to go on with it\n"
            f"    python -m search.run --resume {shlex.quote(str(folder.path))}",
        )
        return
    ended = sum(trial.state == STOPPED for trial in ranking)
    epochs = sum(trial.epoch for trial in ranking)
    whole = sum(trial.config.training.epochs for trial in ranking)
    data = "synthetic data" if synthetic else "this data"
    title = f"Ranking by validation CER, on {data}"
    front = _front(folder)
    marked = {row["trial"] for row in front}
    console.print(trials_table(ranking[:_SHOWN], title, console.width, marked))
    if len(ranking) > _SHOWN:
        say(console, f"... and {len(ranking) - _SHOWN} more in {folder.path / 'trials.csv'}")
    if front:
        console.print(_front_table(front, objectives_of(folder.path)))
    say(
        console,
        f"{len(ranking)} trials, {ended} of them ended early; {epochs} epochs of the {whole} that "
        f"training all to the end would have taken.",
    )
    for note in filter(None, (trial.kept_note for trial in ranking)):
        say(console, f"note: {note}")
    groups = seeds.by_configuration(ranking)
    if len(groups) < len(ranking) and any(len(group.trials) > 1 for group in groups):
        rows = seeds.table(groups[:_SHOWN]).to_pylist()
        seed_table.show(console, f"Ranking by mean CER over seeds, on {data}", rows)
    if ranking and ranking[0].best:
        say(console, f"Best: {notation(ranking[0].config.model)}")
    if cut_off := sum(trial.state == CUT_OFF for trial in ranking):
        say(
            console,
            f"{cut_off} were cut off by the end of the search; they go on with\n"
            f"    python -m search.run --resume {shlex.quote(str(folder.path))}",
        )
    if not any(trial.best for trial in ranking):
        say(console, "No trial has a CER, so there is neither a best.yaml nor a checkpoint.")
    views = {
        "best.yaml": training_command(folder.path),
        "tensorboard": f"tensorboard --logdir {shlex.quote(str(folder.path / 'tensorboard'))}",
    }
    lines = [
        f"    {name:<12} {view}" for name, view in views.items() if (folder.path / name).exists()
    ]
    tables = ("trials.csv", "trials.parquet", "curves.parquet")
    there = ", ".join(name for name in tables if (folder.path / name).exists())
    lines.insert(0, f"    {there}    the tables")
    say(console, "\n".join([f"Everything is in {folder.path}:", *lines]))


def _front(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of the trials on the Pareto front of several objectives."""
    table = read_trials(folder.path)
    return table.filter(table["front"]).to_pylist() if "front" in table.column_names else []


def _front_table(front: list[dict[str, Any]], objectives: list[str]) -> Table:
    """Return the trials that no other beats in all objectives, the lowest CER first."""
    table = Table(title="Pareto front: no other trial beats these", title_justify="left")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    for name in objectives:
        table.add_column(name, justify="right", no_wrap=True)
    for row in front:
        brief = brief_notation(row["architecture"])
        values = (f"{row[COLUMNS[name]]:{_FORMATS.get(name, ',.0f')}}" for name in objectives)
        table.add_row(f"{row['trial']:03d}", brief, *values)
    return table


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
