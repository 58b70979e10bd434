"""Where a command may write: to a new file, or over one that the same command wrote.

Each kind of file carries a mark of its own in its metadata. What lacks the mark is somebody else's
and is never replaced, and nothing is written through a link.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emgmodels.atomic import whole
from emgmodels.paths import several

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIGNATURE = "emgsearch 6f1d2c9e0b7a4d53"
_LOOKED_AT = 1 << 20
"""Bytes at either end of a file in which its mark is looked for."""
_MARK_PLACE = {
    "png": "Software",
    "pdf": "Creator",
    "ps": "Creator",
    "eps": "Creator",
    "svg": "Creator",
}
"""Where matplotlib puts a mark into a picture, for the formats that have a place for it."""
_UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def mark_of(kind: str) -> str:
    """Return the text by which a kind of file is known as the project's own.

    Args:
        kind: what the file is, in ASCII letters and spaces; commands that must not replace each
            other's files name different kinds.
    """
    return f"{kind} by {_SIGNATURE}"


def check_output(path: Path, mark: str, inputs: str | Path | Iterable[str | Path] = ()) -> None:
    """Refuse an output that would replace what this kind of output's writer did not write.

    Args:
        path: the file that is going to be written.
        mark: what its own files hold; see ``mark_of``.
        inputs: files that the command reads.

    Raises:
        ValueError: the message says what is there, and how to mend it.
        PermissionError: its folder can't be written.
    """
    # Checked before it is written, since hours of work may lie between.
    if path.is_symlink():
        raise ValueError(
            f"{path}: is a link to {os.readlink(path)}, and nothing is written through links: "
            f"name the file itself, or delete the link"
        )
    if path.is_dir():
        raise ValueError(f"{path}: is a folder: name a file, such as {path / 'NAME'}")
    _check_parents(path)
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"{path}: is not a regular file: name another")
    if any(os.path.exists(each) and os.path.samefile(each, path) for each in several(inputs)):
        raise ValueError(f"{path}: is read by this command: name another file to write")
    if not is_own(path, mark):
        raise ValueError(
            f"{path}: is there already and was not written by this command: name another file, "
            f"or delete it first"
        )


def is_own(path: Path, mark: str) -> bool:
    """Return whether a file holds a mark, near its beginning or its end."""
    if not path.is_file():  # to open a pipe is to wait for what writes to it
        return False
    try:
        with path.open("rb") as file:
            # Both ends: formats have their metadata at one or the other, and a checkpoint may be
            # gigabytes.
            seen = file.read(_LOOKED_AT)
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            return mark.encode() in seen or mark.encode() in file.read(_LOOKED_AT)
    except OSError:  # what can't be read can't be known
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def picture_path(path: Path) -> Path:
    """Return a picture's path with an ending: ``.png`` where it has none.

    Raises:
        ValueError: matplotlib has no such format, or there is no such folder.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}: make it, or name another")
    if not path.suffix and (path.is_file() or not path.exists()):
        return path.with_name(f"{path.name}.png")
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in formats:
        raise ValueError(
            f"{path}: Format '{path.suffix[1:]}' is not supported: take one of "
            f"{', '.join(sorted(formats))}"
        )
    return path


def marked(kind: str, mark: str) -> dict[str, Any] | None:
    """Return the metadata that puts a mark, and no date, into a picture of a format."""
    if kind not in _MARK_PLACE:
        return None
    # Without a date the same figure gives the same bytes.
    return {_MARK_PLACE[kind]: mark, **_UNDATED.get(kind, {})}


def save_figure(figure: Figure, path: Path, mark: str, **options: Any) -> None:
    """Write a matplotlib figure, marked, whole or not at all.

    Args:
        figure: what to write.
        path: the picture; its ending is the format. See ``picture_path``.
        mark: by which ``check_output`` knows it again; formats without a place for it have none.
        options: of matplotlib's ``savefig``.
    """
    kind = path.suffix[1:].lower()
    with whole(path) as scratch:
        figure.savefig(scratch, format=kind, metadata=marked(kind, mark), **options)


def _check_parents(path: Path) -> None:
    """Refuse a path below something that is not a folder, or can't be written."""
    parent = next(each for each in path.absolute().parents if os.path.lexists(each))
    if not parent.is_dir():
        raise ValueError(f"{path}: {parent} is not a folder: name another file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
