"""Sentences on a terminal: wrapped between words, so that none and no path is broken in two."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def say(console: Console, text: str, hanging: int | None = None) -> None:
    """Print a text as it is, without colours or markup: on a terminal wrapped between words.

    Files, pipes and notebooks get whole lines.

    Args:
        console: where.
        text: what.
        hanging: characters by which further lines of an entry in a list stand to the right.
    """
    shown = wrapped(text, console.width, hanging) if console.is_terminal else text
    console.print(shown, highlight=False, markup=False, soft_wrap=True)


def echo(text: str, err: bool = False) -> None:
    """Print a text as ``say`` does, from a command that has no use for Rich."""
    import typer

    if (sys.stderr if err else sys.stdout).isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    typer.echo(text, err=err)


def wrapped(text: str, width: int, hanging: int | None = None) -> str:
    """Return a text in lines of at most so many characters, broken between words alone.

    A longer word stays whole. So does a line that begins with spaces, unless ``hanging`` says that
    it is an entry in a list: it is a command, and a command that is copied must stay one line.

    >>> print(wrapped("see /a/long/path now", 12))
    see
    /a/long/path
    now
    >>> print(wrapped("  slots   2 at once", 14, hanging=10))
      slots   2 at
              once
    """
    further = " " * (hanging or 0)
    lines = [
        line
        if len(line) <= width or (line.startswith(" ") and hanging is None)
        else textwrap.fill(
            line,
            width,
            subsequent_indent=further,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def counted(count: float, one: str, several: str = "") -> str:
    """Return a count with what it is of, in the singular where there is one.

    >>> counted(1, "session"), counted(1200, "session"), counted(2, "person", "people")
    ('1 session', '1,200 sessions', '2 people')
    >>> counted(1, "trial is", "trials are") + " left", counted(0.5, "point")
    ('1 trial is left', '0.5 points')
    """
    number = f"{count:,}" if float(count).is_integer() else f"{count:g}"
    return f"{number.removesuffix('.0')} {one if count == 1 else several or one + 's'}"


def whose(subject: object) -> str:
    """Return whose sessions they are, in words, of what ``environment.json`` says of the subject.

    >>> whose("anna"), whose("12 people")
    ('subject anna', '12 people')
    """
    return str(subject) if is_of_people(subject) else f"subject {subject}"


def is_of_people(subject: object) -> bool:
    """Return whether a subject stands for several users, such as ``12 people``."""
    return str(subject).endswith(" people")
