"""Writes session files of a synthetic typist.

python -m emgmodels.synthetic data/ --sessions 6 --minutes 3
python -m emgmodels.synthetic people/ --users 12 --sessions 1 --minutes 5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine
from emgmodels.saying import counted, echo

app = CommandLine()


@app.command(epilog="Example:\n\npython -m emgmodels.synthetic data/ --sessions 6 --minutes 3")
def write(
    out: Annotated[Path, typer.Argument(help="Folder to write the session files to.")],
    sessions: Annotated[int, typer.Option(help="Sessions to write, of each user.")] = 6,
    minutes: Annotated[float, typer.Option(help="Length of each session.")] = 2.0,
    subject: Annotated[str, typer.Option(help="Who types; part of the files' names.")] = (
        "synthetic"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the person and of the sessions.")] = 0,
    users: Annotated[
        int,
        typer.Option(
            help="Typists, each with an anatomy, habits and a rhythm of their own; of several, "
            "--subject is what their names begin with."
        ),
    ] = 1,
    off_keyboard: Annotated[
        int, typer.Option(help="That many of the last sessions are typed on a table, without keys.")
    ] = 0,
) -> None:
    """Write sessions of synthetic typists as emg2qwerty files, 16 MB a minute.

    The same options write the same files.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from emgmodels.synthetic.writing import write_subjects

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("Writing sessions", total=max(sessions * users, 0))

        def tell(_: Path) -> None:
            bar.advance(task)

        paths = write_subjects(out, users, sessions, minutes, subject, seed, off_keyboard, tell)
    whose = f" by {counted(users, 'user')}" if users > 1 else ""
    told = (
        f"{counted(len(paths), 'session')}{whose} of {counted(minutes, 'minute')}, "
        f"{paths[0].name} and on"
    )
    echo(f"{out}: {told}")


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.synthetic")
