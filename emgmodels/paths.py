"""Paths as people write them: as ``file://`` URIs too, and to files that Git LFS left out."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_FILE = re.compile(r"file:/+", re.IGNORECASE)
_FILE_URI = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_POINTER = b"version https://git-lfs.github.com/spec/"


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return a path of this machine; a ``file://`` URI gives the path it stands for.

    A leading ``~`` is the home folder: no shell replaces it in ``--out=~/runs``.

    >>> str(local_path("file:///mnt/my%20data"))
    '/mnt/my data'

    Raises:
        ValueError: it is a URI of another machine or of an object store.
    """
    text = os.fspath(path)
    if isinstance(path, Path) and _FILE.match(text):  # ``Path`` makes one slash of several
        text = _FILE.sub("file:///", text)
    if _FILE.match(text):
        found = _FILE_URI.fullmatch(text)
        if found is None or (found["host"] or "localhost").lower() != "localhost":
            raise ValueError(
                f"{text}: names another machine: a file URI has three slashes, as "
                f"file:///mnt/data, or give the path alone"
            )
        return Path(unquote(found["path"]))
    # A folder may be called "s3:"; then it is a path after all.
    if _SCHEME.match(text) and not os.path.exists(text):
        uri = re.sub(r":/+", "://", text, count=1)
        raise ValueError(f"{uri}: is a URI, where a path of this machine is needed: copy it here")
    if text.split("/", 1)[0] == "~":
        # Made as it is written, a folder called "~" would stand here: whoever removes that by its
        # name removes their home.
        return Path(os.path.expanduser(text))
    return Path(text)


def unread(path: Path, error: OSError) -> str:
    """Return that a file cannot be read, and which file beside it may be meant."""
    near: list[str] = []
    if isinstance(error, FileNotFoundError):
        with contextlib.suppress(OSError):
            names = [each.stem for each in path.parent.iterdir() if each.suffix == path.suffix]
            near = difflib.get_close_matches(path.stem, names, n=1)
    meant = f"; did you mean {path.with_name(near[0] + path.suffix)}?" if near else ""
    return f"{path}: cannot be read: {error.strerror}{meant}"


def several(given: Any) -> tuple[Any, ...]:
    """Return paths or texts as a tuple; one alone, which Python takes for its letters, is one.

    >>> several("model.electrodes=8")
    ('model.electrodes=8',)
    """
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def refuse_pointer(path: Path) -> None:
    """Refuse what Git leaves in place of a large file until Git LFS fetches it.

    Raises:
        ValueError: the file is such a pointer.
    """
    if not path.is_file():  # to open a pipe is to wait for what writes to it
        return
    try:
        with path.open("rb") as file:
            pointer = file.read(len(_POINTER)) == _POINTER
    except OSError:
        return  # what reads it says why it can't be read
    if pointer:
        raise ValueError(
            f"{path}: is a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"
        )
