"""Prints every key of a space file, with what is allowed, its default and its meaning.

python -m search.space
python -m search.space --write docs/space.md
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.writing import whole
from search.space.reference import reference, updated

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="Examples:\n\npython -m search.space\n\npython -m search.space --write docs/space.md"
)
def command(
    write: Annotated[
        Path | None, typer.Option(help="A page whose generated part is written anew.")
    ] = None,
) -> None:
    """Print every key of a space file as Markdown, or write them into a page."""
    if write is None:
        typer.echo(reference())
        return
    try:
        if write.is_symlink():
            raise ValueError("is a link, and nothing is written through links: name the page")
        page = updated(write.read_bytes().decode())
        with whole(write) as scratch:
            scratch.write_bytes(page.encode())
            shutil.copymode(write, scratch)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {write}: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app(prog_name="python -m search.space")
