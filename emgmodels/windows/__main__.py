"""The cache of recordings on this machine.

python -m emgmodels.windows list
python -m emgmodels.windows prepare data/             # convert ahead of a search
python -m emgmodels.windows clear                     # remove what nobody has open
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine
from emgmodels.saying import counted, echo, say

app = CommandLine(
    no_args_is_help=True,
    help="The cache of recordings on this machine.",
    epilog="Examples:\n\npython -m emgmodels.windows prepare data/\n\n"
    "python -m emgmodels.windows list",
)


@app.command("list")
def list_recordings() -> None:
    """List the recordings in the cache, the least recently opened first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from emgmodels.windows import cache

    found, beside, folder = cache.entries(), cache.fetched_bytes(), cache.cache_folder()
    table = Table()
    for column in ("session", "GB", "days since opened", "in use", "converted from"):
        is_number = column in ("GB", "days since opened")
        # A path that is cut off names nothing.
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for entry in found:
        days = (time.time() - entry.opened) / 86_400
        table.add_row(
            Text(_printable(entry.name) or "(damaged)"),
            f"{entry.bytes / 1e9:.3f}",
            f"{days:.1f}",
            "yes" if entry.in_use else "",
            Text(_printable(entry.source)),
        )
    console = Console(highlight=False, markup=False)
    if found:
        console.print(table)
    total = sum(entry.bytes for entry in found) / 1e9
    say(
        console,
        f"{counted(len(found), 'recording')}, {total:.2f} GB of {cache.cache_limit() / 1e9:g} GB "
        f"(EMGSEARCH_CACHE_GB), in {folder}",
    )
    if beside:
        say(
            console,
            f"beside them {beside / 1e9:.2f} GB of session files and run folders from object "
            f"stores, and of synthetic sessions; these have no limit, clear removes them",
        )


def _printable(name: str) -> str:
    """Return a name without what would command a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


@app.command()
def prepare(
    data: Annotated[Path, typer.Argument(help="Folder with session files.")],
) -> None:
    """Convert the sessions of a folder, so that a search starts at once.

    Example: python -m emgmodels.windows prepare data/
    """
    from rich.console import Console
    from rich.progress import Progress

    from emgmodels.sessions import session_paths
    from emgmodels.windows import cache

    paths = session_paths(data)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sessions", total=len(paths))
        recordings = cache.prepare(paths, lambda _: bar.advance(task))
    hours = sum(recording.samples for recording in recordings) / 2000 / 3600
    echo(f"{counted(len(recordings), 'recording')}, {hours:.2f} hours, in {cache.cache_folder()}")


@app.command()
def clear() -> None:
    """Remove the recordings that no process has open, and what killed conversions left.

    Where none is open, also what was fetched from object stores, and synthetic sessions. What the
    cache did not write stays, wherever EMGSEARCH_CACHE points.
    """
    from emgmodels.windows import cache

    found, beside = cache.entries(), cache.fetched_bytes()
    echo(
        f"Clearing {cache.cache_folder()}: {counted(len(found), 'recording')}"
        + (f", {beside / 1e6:.1f} MB of fetched and synthetic files" if beside else "")
    )
    freed = cache.clear()
    left = sum(entry.in_use for entry in cache.entries())
    echo(f"{freed / 1e6:.1f} MB freed; in use, and left: {counted(left, 'recording')}")


if __name__ == "__main__":
    app(prog_name="python -m emgmodels.windows")
