"""What session files hold, printed: a table, remarks, and a picture of signal and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from emgmodels import charset
from emgmodels.command import told
from emgmodels.config import BANDS
from emgmodels.outputs import check_output, picture_path
from emgmodels.saying import echo
from emgmodels.sessions.files import read_session
from emgmodels.sessions.finding import session_paths
from emgmodels.sessions.lag import KeyLag, key_lag
from emgmodels.sessions.plot import PLOT_MARK, plot_session
from emgmodels.sessions.session import Session

_COLUMNS: dict[str, Literal["left", "right"]] = {
    "session": "left",
    "user": "left",
    "condition": "left",
    "minutes": "right",
    "Hz": "right",
    "truth": "left",
    "keys": "right",
    "keys/s": "right",
    "dropped": "right",
    "outside": "right",
    "lag/ms": "right",
    "rms left": "right",
    "rms right": "right",
    "text": "left",
}
_TABLE_WIDTH = 140
_PIPED_WIDTH = 200
_TEXT_SHOWN = 40


def inspect_sessions(files: list[Path], plot: Path | None, start: float, seconds: float) -> None:
    """Print what session files hold; the arguments are the command's.

    Raises:
        ValueError: several sessions are named for one picture, or it can't be written.
        Exit: a file could not be read; the others were shown.
    """
    rows: list[list[Text]] = []
    sessions: list[Session] = []
    remarks: list[str] = []
    problems: list[Exception] = []
    paths = _expand(files)
    if plot is not None and len(paths) != 1:
        raise ValueError(f"--plot {plot} draws one session, {len(paths)} are named: name one")
    if plot is not None:
        plot = picture_path(plot)
        check_output(plot, PLOT_MARK, paths)
    for path in paths:
        try:
            session = read_session(path)
            lag = key_lag(session)
            rows.append(_describe(session, lag))
            # Without the signal: those of a hundred people do not fit into memory.
            nothing = np.empty((0, BANDS, 0), np.float32)
            sessions.append(replace(session, time=session.time[[0, -1]], emg=nothing))
            found = (*session.remarks(), lag.remark if lag else "")
            remarks += [f"{session.name}: {remark}" for remark in found if remark]
            if plot is not None:
                drawn = plot_session(session, plot, start, seconds)
                remarks.append(f"{session.name}: drawn to {drawn}")
        except (ValueError, OSError) as error:
            problems.append(error)
    if rows:
        _print(rows)
    if len(rows) > 1:
        Console().print(_by_user(sessions), "")
    for remark in remarks:
        echo(remark)
    for problem in problems:
        echo(f"error: {told(problem)}", err=True)
    if problems:
        raise typer.Exit(2)


def _expand(files: list[Path]) -> list[Path]:
    """Return the files, with the session files of a folder in its place."""
    paths: list[Path] = []
    for file in files:
        paths.extend(session_paths(file) if file.is_dir() else [file])
    return paths


def _print(rows: list[list[Text]]) -> None:
    """Print a table, or on a narrow terminal a list a session."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, _PIPED_WIDTH))
    if console.width < _TABLE_WIDTH:
        for row in rows:
            grid = Table.grid("", Column(overflow="fold"), padding=(0, 2))
            for name, cell in zip(_COLUMNS, row, strict=True):
                grid.add_row(name, cell)
            console.print(grid, "")
        return
    table = Table(box=None, pad_edge=False)
    for name, justify in _COLUMNS.items():
        numeric = justify == "right"
        table.add_column(name, justify=justify, no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _by_user(sessions: Sequence[Session]) -> Table:
    """Return a table of the sessions, minutes and keys of each user, and of all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("user", overflow="fold")
    for name in ("sessions", "minutes", "keys"):
        table.add_column(name, justify="right", no_wrap=True)
    of: dict[str, list[Session]] = {}
    for session in sessions:
        of.setdefault(session.user, []).append(session)
    all_of = {f"all {len(of)}": list(sessions)} if len(of) > 1 else {}
    for user, own in (dict(sorted(of.items())) | all_of).items():
        minutes = sum(session.duration for session in own) / 60
        keys = sum(len(session.labels().label) for session in own)
        table.add_row(Text(user), f"{len(own)}", f"{minutes:.1f}", f"{keys}")
    return table


def _describe(session: Session, lag: KeyLag | None) -> list[Text]:
    """Return what the columns say of a session."""
    # Prompts have no key times that could be early or late.
    shown = "-" if lag is None else f"{lag.ms:+.0f}" if lag.is_sure else "unsure"
    labels = session.labels()
    count = len(labels.label)
    if labels.has_key_times:
        dropped = len(session.keystrokes) - count
    else:
        texts = [prompt.text for prompt in session.prompts if prompt.text is not None]
        dropped = sum(len(text) - len(charset.encode(text)) for text in texts)
    outside = np.sum((labels.start < session.time[0]) | (labels.start > session.time[-1]))
    left, right = _rms(session.emg)
    cells = [
        session.name,
        session.user,
        session.condition,
        f"{session.duration / 60:.1f}",
        f"{session.rate:.1f}",
        "keys" if labels.has_key_times else "prompts",
        f"{count}",
        f"{count / session.duration:.1f}",
        f"{dropped}",
        f"{outside}",
        shown,
        f"{left:.3g}",
        f"{right:.3g}",
        charset.decode(labels.label[:_TEXT_SHOWN]),
    ]
    return [Text(cell) for cell in cells]


def _rms(emg: np.ndarray) -> np.ndarray:
    """Return the root mean square of each band of (T, 2, 16) EMG."""
    power = np.zeros(BANDS)
    block = 1 << 16
    for begin in range(0, len(emg), block):
        power += np.square(emg[begin : begin + block]).sum(axis=(0, 2), dtype=np.float64)
    return np.sqrt(power / (emg.shape[0] * emg.shape[2]))
