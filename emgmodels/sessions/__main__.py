"""Looks at session files: a table of what is in them, a picture of signal and keys.

python -m emgmodels.sessions inspect data/
python -m emgmodels.sessions inspect session.hdf5 --plot session.png --start 60 --seconds 5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emgmodels import charset
from emgmodels.config import BANDS
from emgmodels.sessions.files import read_session
from emgmodels.sessions.plot import plot_session
from emgmodels.sessions.session import Session
from emgmodels.sessions.splits import find_session_files

_PIPED_WIDTH = 180
_TEXT_SHOWN = 40

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _commands() -> None:
    """Look at session files."""


@app.command(
    epilog="Examples: python -m emgmodels.sessions inspect data/   |   "
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

    A file that can't be read is reported after the others, and the command exits with 2.
    """
    table, problems = _table(), []
    minutes, keys = 0.0, 0
    try:
        paths = _expand(files)
        if plot is not None and len(paths) != 1:
            raise ValueError(f"--plot {plot} draws one session, {len(paths)} are named: name one")
    except ValueError as error:
        paths, problems = [], [error]
    for path in paths:
        try:
            session = read_session(path)
            row, labels = _describe(session)
            if plot is not None:
                plot_session(session, plot, start, seconds)
        except (ValueError, OSError) as error:
            problems.append(error)
            continue
        table.add_row(*row)
        minutes += session.duration / 60
        keys += labels
    if table.row_count:
        table.caption = f"{table.row_count} sessions, {minutes:.1f} minutes, {keys} keys"
        _console().print(table)
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        raise typer.Exit(2)


def _expand(files: list[Path]) -> list[Path]:
    """Return the files, with the session files of a folder in its place."""
    paths: list[Path] = []
    for file in files:
        paths.extend(find_session_files(file).values() if file.is_dir() else [file])
    return paths


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _PIPED_WIDTH))


def _table() -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, caption_justify="left")
    table.add_column("session", overflow="fold", min_width=16)
    table.add_column("user", overflow="fold")
    table.add_column("condition", overflow="fold")
    for name in ("minutes", "Hz", "keys", "keys/s", "dropped", "rms left", "rms right"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("truth")
    table.add_column("text", overflow="fold", min_width=16)
    return table


def _describe(session: Session) -> tuple[list[str | Text], int]:
    """Return the cells of a session's row, and its number of labels."""
    labels = session.labels()
    count = len(labels.label)
    if labels.has_key_times:
        written = len(session.keystrokes)
        kept = count
    else:
        texts = [prompt.text for prompt in session.prompts if prompt.text is not None]
        written = sum(map(len, texts))
        kept = sum(len(charset.encode(text)) for text in texts)
    left, right = _rms(session.emg)
    return [
        Text(session.name),
        Text(session.user),
        Text(session.condition),
        f"{session.duration / 60:.1f}",
        f"{session.rate:.1f}",
        str(count),
        f"{count / session.duration:.1f}",
        str(written - kept),
        f"{left:.3g}",
        f"{right:.3g}",
        "keys" if labels.has_key_times else "prompts",
        Text(charset.decode(labels.label[:_TEXT_SHOWN])),
    ], count


def _rms(emg: np.ndarray) -> np.ndarray:
    """Return the root mean square of each band of (T, 2, 16) EMG."""
    power = np.zeros(BANDS)
    block = 1 << 16
    for begin in range(0, len(emg), block):
        power += np.square(emg[begin : begin + block]).sum(axis=(0, 2), dtype=np.float64)
    return np.sqrt(power / (emg.shape[0] * emg.shape[2]))


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.sessions")
