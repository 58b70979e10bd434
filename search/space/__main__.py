"""Prints every key of a space file, with what is allowed, its default and its meaning.

python -m search.space
python -m search.space --write docs/space.md
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.atomic import whole
from emgmodels.command import CommandLine

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.space\n\npython -m search.space --write docs/space.md"
)
def command(
    write: Annotated[
        Path | None, typer.Option(help="A page whose generated part is written again.")
    ] = None,
) -> None:
    """Print every key of a space file as Markdown, or write them into a page."""
    from search.space.reference import reference, updated

    if write is None:
        typer.echo(reference())
        return
    try:
        if write.is_symlink():
            raise ValueError("is a link, and nothing is written through links: name the page")
        page = updated(write.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{write}: is not a text in UTF-8: {error}") from None
    except ValueError as error:
        raise ValueError(f"{write}: {error}") from None
    with whole(write) as scratch:
        scratch.write_bytes(page.encode())
        shutil.copymode(write, scratch)


if __name__ == "__main__":
    app(prog_name="python -m search.space")
