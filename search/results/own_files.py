"""Refuses to write into a run folder where something lies that no search wrote."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from emgmodels.atomic import whole
from emgmodels.outputs import is_own, mark_of

_MARKS = {
    "best.yaml": "# Best of ",
    "trials.csv": '"trial","architecture"',
    "trials.parquet": "architecture",
    "curves.parquet": "val_loss",
    "windows.parquet": "characters",
    "users.parquet": "characters",
    "confirm.csv": '"search_cer"',
    "confirm.parquet": "search_cer",
    "evaluation.json": '"language_model"',
    "evaluation.parquet": "real_time_factor",
    "start.pt": mark_of("model"),
}
"""By what a file is known as written by a search: names of its columns or keys."""
_FILES = (
    *("space.yaml", "split.yaml", "environment.json", "study.journal"),
    *(".running", ".trials.rows", ".curves.rows", ".reserve", ".fetched"),
)
"""Files whose readers find out what else they may be."""
_FOLDERS = (
    "checkpoints",
    "confirm",
    "people",
    "evaluation",
    "failures",
    "report",
    "tensorboard",
    ".ray",
)
_NEVER_CHANGED = "checkpoint_"
"""How folders begin whose files are written once."""


def check_parent(folder: Path) -> None:
    """Refuse a folder for run folders that can't be made, or can't be written.

    Raises:
        ValueError: so it is; nothing was made.
    """
    nearest = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not nearest.is_dir():
        raise ValueError(f"{folder}: {nearest} is not a folder: name another for run folders")
    if not _is_open(nearest):
        raise ValueError(f"{folder}: {nearest} cannot be written by you: name another folder")


def check_own(run: Path) -> None:
    """Refuse a run folder where a search would write through a link, or over what it did not write.

    Raises:
        ValueError: so it is, or the folder can't be written; the message says how to mend it.
    """
    if not _is_open(run):
        raise ValueError(
            f"{run}: cannot be written by you: copy it, and go on with the copy: "
            f"cp -r RUN COPY; chmod -R u+w COPY"
        )
    for path in (run / name for name in (*_FILES, *_MARKS, *_FOLDERS)):
        if not os.path.lexists(path):
            continue
        if path.is_symlink():
            raise ValueError(
                f"{path}: is a link to {os.readlink(path)}, and nothing is written through links: "
                f"put there what it names, or delete it"
            )
        is_folder = path.name in _FOLDERS
        if not (path.is_dir() if is_folder else path.is_file()):
            raise ValueError(
                f"{path}: is no {'folder' if is_folder else 'file'}, and a search keeps one there: "
                f"move it elsewhere"
            )
        if not os.access(path, os.W_OK):
            raise ValueError(f"{path}: cannot be written by you: chmod -R u+w {run}, or copy it")
        if (mark := _MARKS.get(path.name)) and not is_own(path, mark):
            raise ValueError(
                f"{path}: was not written by a search, which would replace it: move it elsewhere"
            )


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def unshare(run: Path) -> None:
    """Give a run folder own copies of files that have names elsewhere too, as ``cp -l`` makes them.

    A search appends to some of its files, which would change the others' as well.
    """
    for folder, subfolders, files in os.walk(run):
        subfolders[:] = [name for name in subfolders if not name.startswith(_NEVER_CHANGED)]
        for path in (Path(folder, name) for name in files if not name.endswith(".pt")):
            if not path.is_symlink() and path.stat().st_nlink > 1:
                with whole(path) as scratch:
                    shutil.copy2(path, scratch)
