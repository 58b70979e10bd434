"""Writes session files of a synthetic typist.

python -m emgmodels.synthetic data/ --sessions 6 --minutes 3
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine

app = CommandLine()


@app.command(epilog="Example:\n\npython -m emgmodels.synthetic data/ --sessions 6 --minutes 3")
def write(
    out: Annotated[Path, typer.Argument(help="Folder to write the session files to.")],
    sessions: Annotated[int, typer.Option(help="Sessions to write.")] = 6,
    minutes: Annotated[float, typer.Option(help="Length of each session.")] = 2.0,
    subject: Annotated[str, typer.Option(help="Who types; part of the files' names.")] = (
        "synthetic"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the person and of the sessions.")] = 0,
    off_keyboard: Annotated[
        int, typer.Option(help="That many of the last sessions are typed on a table, without keys.")
    ] = 0,
) -> None:
    """Write sessions of one synthetic typist as emg2qwerty files, 16 MB a minute.

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

    from emgmodels.synthetic.writing import write_subject

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
        task = bar.add_task("Writing sessions", total=max(sessions, 0))
        paths = write_subject(
            out, sessions, minutes, subject, seed, off_keyboard, lambda _: bar.advance(task)
        )
    typer.echo(f"{out}: {len(paths)} sessions of {minutes:g} minutes, {paths[0].name} and on")


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.synthetic")
