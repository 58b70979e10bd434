"""Looks at session files: a table of what is in them, a picture of signal and keys.

python -m emgmodels.sessions inspect data/
python -m emgmodels.sessions inspect session.hdf5 --plot session.png --start 60 --seconds 5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine

app = CommandLine(no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Look at session files."""


@app.command(
    epilog="Examples:\n\npython -m emgmodels.sessions inspect data/\n\n"
    "python -m emgmodels.sessions inspect a.hdf5 --plot a.png --start 60 --seconds 5"
)
def inspect(
    files: Annotated[list[Path], typer.Argument(help="Session files, or folders of them.")],
    plot: Annotated[
        Path | None, typer.Option(help="Draw signal and keys of one session to this picture.")
    ] = None,
    start: Annotated[float, typer.Option(help="Where the picture begins (s).")] = 0.0,
    seconds: Annotated[float, typer.Option(help="How much the picture shows (s).")] = 5.0,
) -> None:
    """Show a row a session: how long, how many keys, how strong a signal, what was typed.

    Of several sessions a second table sums up each user: sessions, minutes, keys.

    "dropped" counts keys and characters that have no label, "outside" those whose time is before
    or after the recording. "lag" is how much later the keys are in the EMG than by their times, by
    an estimate; "unsure" where none stands out. "rms" is in the file's own unit. Below the table
    stands what to know of a session: what its file lacks, gaps, a unit other than microvolts, keys
    on another clock. A file that can't be read is reported after the others, and the command exits
    with 2.
    """
    from emgmodels.sessions.inspecting import inspect_sessions

    inspect_sessions(files, plot, start, seconds)


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.sessions")
