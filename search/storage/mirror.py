"""The copy of a run folder in an object store: kept as the folder grows, fetched from there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from emgmodels.atomic import whole
from emgmodels.own_code import FETCHED
from search.storage.place import Place, copy_down

ENGINE_FOLDER = ".ray"
"""Where Ray keeps its own state inside a run folder."""
APPENDED = (".trials.rows", ".curves.rows")
"""Rows of a run folder's tables that are not in their Parquet files yet."""
_APPENDED = ".rows"
_FETCHED = FETCHED
"""Names, in a fetched folder, the place that it is a copy of."""
_FACTS = "environment.json"
_OWN = re.compile(
    r"(confirm/|people/)?((space|split|best)\.yaml|start\.pt|environment\.json|study\.journal"
    r"|(trials|confirm|people)\.csv|people\.(md|png|pdf)|evaluation\.json|(trials|curves|windows|users|confirm|evaluation|people)"
    r"\.parquet|\.(trials|curves)\.rows|(tensorboard|checkpoints|report|evaluation|failures|code)/.+)"
)
"""What a search and its reports write into a run folder."""
# A run folder has hundreds of small files, each of which waits for the network. Eight at once
# hide most of that.
_UPLOADS = 8
"""Uploads at once."""


class Mirror:
    """Keeps a copy of a run folder in an object store.

    Args:
        folder: the run folder.
        place: its copy.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        # Another machine may have sent rows that were brought in since.
        self._sent: dict[str, tuple[int, int]] = dict.fromkeys(APPENDED, (-1, -1))

    def push(self, *names: str) -> None:
        """Copy what changed since the last time, and delete what is gone.

        Args:
            names: only these files of the folder; none named, all.
        """
        found = {name: self.folder / name for name in names} if names else _local(self.folder)
        changed = {}
        for name, path in found.items():
            if path.is_file():
                stat = path.stat()
                if self._sent.get(name) != (stat.st_size, stat.st_mtime_ns):
                    changed[name] = (stat.st_size, stat.st_mtime_ns)
        fs, root = self.place.open()
        rows = [name for name in changed if name.endswith(_APPENDED)]
        with ThreadPoolExecutor(_UPLOADS) as pool:
            for batch in (changed.keys() - rows, rows):  # rows are newer than their table
                list(pool.map(lambda name: _copy_up(fs, found[name], f"{root}/{name}"), batch))
        # Only after all were sent: what failed is sent the next time.
        self._sent |= changed
        gone = [] if names else [name for name in self._sent if name not in found]
        for name in gone:
            self.place.delete([name])
            del self._sent[name]


def fetch(
    place: Place, folder: Path, note: Callable[[Path, os.stat_result], None] | None = None
) -> Path:
    """Bring a run folder to this machine: what is new, and not what only Ray needs.

    Args:
        place: the run folder's copy in an object store.
        folder: where to. In one that is a copy of the place, files of the search are overwritten
            where storage has something newer; in any other, nothing is.
        note: called with each file before it takes its place; see ``copy_down``.

    Returns:
        ``folder``.

    Raises:
        ValueError: there is no run folder, or something else lies where a file would go. Then
            nothing was brought.
    """
    files = place.files()
    if "space.yaml" not in files:
        raise ValueError(f"{place.uri}: is not the folder of a search: it holds no space.yaml")
    # Ray's own files may be gigabytes, and only a resume reads them, directly from the store.
    wanted = {name: info for name, info in files.items() if _stays_inside(name)}
    is_copy = _is_copy(folder, place)
    for name, info in wanted.items():
        target = folder / name
        # All files are looked at before the first is written, so that a refusal leaves nothing
        # behind.
        check_own(target, folder)
        changes = _differs(info, target) if target.exists() else False
        changes |= name == _FACTS and target.exists()  # they are going to name the place
        if target.is_dir() or (changes and not (is_copy and _OWN.fullmatch(name))):
            raise ValueError(
                f"{target}: is there already and was not fetched from {place.uri}: name another "
                f"folder to fetch to, or move it elsewhere"
            )
    fs, _ = place.open()
    if not is_copy:
        with whole(folder / _FETCHED) as scratch:
            scratch.write_text(json.dumps({"from": place.uri}), encoding="utf-8")
            if note is not None:
                note(folder / _FETCHED, scratch.stat())
    # Tables before rows, as they were sent: rows that are older than their table would bring back
    # old states.
    for name, info in sorted(wanted.items(), key=lambda file: file[0].endswith(_APPENDED)):
        target = folder / name
        if _is_new(info, target) and (target.suffix != _APPENDED or _is_new(info, _table(target))):
            copy_down(fs, info, target, note)
    for rows in (folder / where / name for where in ("", "confirm", "people") for name in APPENDED):
        name, table = (path.relative_to(folder).as_posix() for path in (rows, _table(rows)))
        replaced = rows.is_file() and name not in files and table in files
        if replaced and _is_new(files[table], rows):
            rows.unlink()  # another machine has gone on since
    _note_place(folder / _FACTS, place)
    return folder


def check_own(target: Path, folder: Path) -> None:
    """Refuse a file that a link below a folder would lead out of it.

    Raises:
        ValueError: names the link.
    """
    below = target.relative_to(folder)
    for path in (target, *(folder / parent for parent in list(below.parents)[:-1])):
        if path.is_symlink():
            raise ValueError(
                f"{path}: is a link to {os.readlink(path)}, and nothing is written through links: "
                f"delete it, or name another folder"
            )


def _stays_inside(name: str) -> bool:
    """Return whether an object is to be fetched, and its name leads nowhere else."""
    parts = PurePosixPath(name).parts
    return not ({ENGINE_FOLDER, ".."} & set(parts) or name.startswith("/") or "\\" in name)


def _is_copy(folder: Path, place: Place) -> bool:
    """Return whether a folder was fetched from a place, or is the one that is copied there."""
    for name, key in ((_FETCHED, "from"), ("environment.json", "storage")):
        try:
            uri = json.loads((folder / name).read_text(encoding="utf-8"))[key]
            if uri.partition("?")[0] == place.uri.partition("?")[0]:
                return True
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return False


def _differs(info: Any, path: Path) -> bool:
    stat = path.stat()
    return (info.size, info.mtime_ns) != (stat.st_size, stat.st_mtime_ns)


def _note_place(path: Path, place: Place) -> None:
    """Note where a run came from: one that was copied in its store names another place still."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # told when it is needed
        return
    if isinstance(facts, dict) and facts.get("storage") != place.uri:
        with whole(path) as scratch:
            scratch.write_text(json.dumps({**facts, "storage": place.uri}, indent=2), "utf-8")


def _local(folder: Path) -> dict[str, Path]:
    """Return a run folder's files by relative path, without Ray's own and half-written ones."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and ENGINE_FOLDER not in path.relative_to(folder).parts
        and (not path.name.startswith(".") or path.name in APPENDED)
    }


def _copy_up(fs: Any, source: Path, target: str) -> None:
    with fs.open_output_stream(target) as stream:
        # Read in one go, so that a file that grows meanwhile is sent as it was at one moment.
        stream.write(source.read_bytes())


def _is_new(info: Any, path: Path) -> bool:
    """Return whether a stored file is newer than one of this machine, as far as times tell."""
    if not path.is_file():
        return True
    stat = path.stat()
    # Some stores give no times. Then only the size can tell.
    if info.mtime_ns in (None, stat.st_mtime_ns):  # stores count whole seconds
        return info.size != stat.st_size
    return info.mtime_ns > stat.st_mtime_ns


def _table(rows: Path) -> Path:
    """Return the table whose appended rows a file holds."""
    return rows.with_name(f"{rows.stem[1:]}.parquet")
