"""Prints every key of a space file, with what is allowed, its default and its meaning.

python -m search.space
python -m search.space --write docs/space.md
python -m search.space my_space.yaml        settings of code of your own that the space names
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from emgmodels.atomic import whole
from emgmodels.command import ALLOW_CODE, CommandLine
from emgmodels.own_code import code_allowed

app = CommandLine()


@app.command(
    epilog="Examples:\n\npython -m search.space\n\npython -m search.space --write docs/space.md"
)
def command(
    space: Annotated[
        Path | None, typer.Argument(help="A space file: print the settings of its own code only.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="A page whose generated part is written again.")
    ] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help=ALLOW_CODE)] = False,
) -> None:
    """Print every key of a space file as Markdown, or write them into a page."""
    from search.space.loading import load_space
    from search.space.reference import own_reference, reference, updated

    if space is not None:
        if write is not None:
            raise ValueError(f"--write {write}: documents all spaces: leave out {space}")
        with code_allowed(allow_code):
            typer.echo(own_reference(load_space(space).own))
        return
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
