"""Session files of a folder, and names that are the same however Unicode spells them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

SUFFIX = ".hdf5"
"""How session files end, in small letters or capitals."""


def same_spelling(name: str) -> str:
    """Return a name with its accents composed: file systems and keyboards differ in that."""
    return unicodedata.normalize("NFC", name)


def session_paths(data: str | Path) -> list[Path]:
    """Return the session files of a folder and its subfolders, upper folders first; none is hidden.

    Raises:
        ValueError: there are none.
    """
    data = Path(data)
    if not data.is_dir():
        found = "is a file" if data.exists() else "does not exist"
        raise ValueError(f"{data}: {found}: expected a folder with session files (*{SUFFIX})")
    paths: list[Path] = []
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(data, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # a link to a folder that was walked through already, or to its parent
            subfolders.clear()
            continue
        seen.add(here)
        # Sorted and in place: os.walk goes on with what the list holds then.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths.extend(Path(folder, name) for name in files)
    return ordered(paths, str(data))


def ordered(paths: Iterable[Path], data: str) -> list[Path]:
    """Return the session files among paths, upper folders first.

    Args:
        paths: What was found; hidden files are left out.
        data: Where, for messages.

    Raises:
        ValueError: There are none.
    """
    found = [
        path for path in paths if path.suffix.lower() == SUFFIX and not path.name.startswith(".")
    ]
    if not found:
        raise ValueError(
            f"{data}: no session files: looked for *{SUFFIX} there and in all subfolders"
        )
    # The same order on every machine, whatever its file system.
    return sorted(found, key=lambda path: (len(path.parts), path))


def find_session_files(data: str | Path) -> dict[str, Path]:
    """Return the session files of a folder and its subfolders, by session name, sorted.

    Raises:
        ValueError: there are none, or two have the same name.
    """
    return by_name(session_paths(data), str(data))


def by_name(paths: Iterable[Path], data: str) -> dict[str, Path]:
    """Return session files by session name, sorted.

    Args:
        paths: Session files.
        data: Where, for messages.

    Raises:
        ValueError: Two have the same name.
    """
    files: dict[str, Path] = {}
    for path in paths:
        name = same_spelling(path.stem)
        if name in files:
            raise ValueError(f"{data}: session {name} is there twice: {files[name]} and {path}")
        files[name] = path
    return dict(sorted(files.items()))
