"""Files of an object store on this machine: sessions and run folders, fetched into the cache."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs

from emgmodels.paths import several
from emgmodels.sessions import SessionInfo, read_info
from emgmodels.sessions.finding import ordered
from emgmodels.windows.home import fetched_folder, is_fetched, make_home, naming_cache, note_fetched
from search.storage.mirror import check_own, fetch
from search.storage.place import Place, copy_down, is_uri, local_path, redact

_HEADER = 1 << 18
"""Bytes of a session file that are read at once where only its header is wanted."""


class SessionStore:
    """A folder of session files in an object store; those asked for are brought to this machine.

    Args:
        uri: the folder; files in its subfolders are found as well.
    """

    def __init__(self, uri: str) -> None:
        self.place = Place(uri.rstrip("/"))
        self._folder = _cached(self.place.uri)

    def paths(self) -> list[Path]:
        """Return where each session file lies on this machine once it is fetched.

        Raises:
            ValueError: there are none.
        """
        return ordered(map(self._folder.joinpath, self.place.files()), self.place.uri)

    def uri_of(self, path: str | Path) -> str:
        """Return the URI of the file that a path is the copy of."""
        relative = Path(path).resolve().relative_to(self._folder.resolve())
        return (self.place / relative.as_posix()).uri

    def info_of(self, path: Path) -> SessionInfo:
        """Return what a session file says of itself; no more than its header is read.

        Raises:
            ValueError: it is not a session, or can't be read.
        """
        uri = self.uri_of(path)
        fs, name = Place(uri).open()
        try:
            # Sessions have hundreds of megabytes, and choosing them takes only their headers.
            with io.BufferedReader(fs.open_input_file(name), _HEADER) as file:
                return read_info(uri, file)
        except OSError as error:
            raise ValueError(f"{uri}: cannot be read: {redact(str(error))}") from None

    def fetch(self, paths: str | Path | Iterable[str | Path]) -> None:
        """Bring sessions to this machine, those that it has not got as they are in the store."""
        for path in several(paths):
            local_file(self.uri_of(path))


def local_file(source: str) -> Path:
    """Return a file on this machine: a path as it is, what a URI names brought into the cache.

    Raises:
        ValueError: there is no such file.
    """
    if not is_uri(source):
        return local_path(source)
    fs, path = Place(source).open()
    try:
        info = fs.get_file_info(path)
    except OSError as error:
        raise ValueError(f"{source}: cannot be read: {redact(str(error))}") from None
    if info.type != pa.fs.FileType.File:
        raise ValueError(f"{source}: is not there")
    target = _cached(source)
    # Size and time, as rsync does: a store's checksum would mean reading the file.
    if not (target.is_file() and _same(target, info)):
        make_home()
        check_own(target, fetched_folder())
        # The cache's folder may be one that a user has files in.
        if target.exists() and not is_fetched(target):
            raise ValueError(f"{target}: the cache did not write this file: move it elsewhere")
        with naming_cache():
            copy_down(fs, info, target, note_fetched)
    return target


def local_run(run: str | Path) -> Path:
    """Return a run folder on this machine: a path as it is, a URI's files fetched into the cache.

    Raises:
        ValueError: the URI is none of a run folder.
    """
    if not is_uri(run):
        return local_path(run)
    place = Place(str(run).rstrip("/"))
    parts = urlsplit(place.uri)
    where = re.sub(r"[^\w.-]+", "-", f"{parts.netloc}{parts.path}")
    make_home()
    return fetch(place, fetched_folder() / "runs" / where / place.name, note_fetched)


def _cached(uri: str) -> Path:
    """Return where a URI's content lies on this machine."""
    parts = urlsplit(uri)
    names = PurePosixPath(parts.path.lstrip("/")).parts
    # An object's name may hold anything. Here it would lead out of the cache.
    if ".." in names:
        raise ValueError(f"{uri}: must not hold '..'")
    return fetched_folder().joinpath("data", f"{parts.scheme}-{parts.netloc}", *names)


def _same(path: Path, info: Any) -> bool:
    stat = path.stat()
    return stat.st_size == info.size and stat.st_mtime_ns == info.mtime_ns
