"""Bring run folders from an object store, and list those in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emgmodels.command import CommandLine
from emgmodels.saying import echo

app = CommandLine(no_args_is_help=True, help="Bring run folders from an object store.")


@app.command("fetch")
def fetch_command(
    run: Annotated[str, typer.Argument(help="A run folder's URI.")],
    to: Annotated[Path | None, typer.Option(help="Where to; runs/NAME by default.")] = None,
) -> None:
    """Bring a run folder from an object store to this machine."""
    from search.storage.mirror import fetch
    from search.storage.place import Place

    place = Place(run.rstrip("/"))
    typer.echo(fetch(place, to or Path("runs") / place.name))


@app.command("list")
def list_command(
    storage: Annotated[str, typer.Argument(help="What a search was given as --storage.")],
) -> None:
    """List the run folders in an object store."""
    from search.storage.place import Place

    place = Place(storage.rstrip("/"))
    found = (name.split("/") for name in sorted(place.files()) if name.count("/") == 1)
    for run, file in found:
        shown = "".join(c if c.isprintable() else "\ufffd" for c in run)
        if file == "space.yaml" and set(run) & set("?#%"):
            echo(f"note: {shown!r} has no URI for its ?, # or %: rename it there", err=True)
        elif file == "space.yaml":
            echo(f"{shown}" if shown != run else (place / run).uri)


if __name__ == "__main__":
    app(prog_name="python -m search.storage")
