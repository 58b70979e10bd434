"""Run folders in an object store: copied there as they grow, fetched from there.

    python -m search.storage fetch s3://bucket/runs/deep-001
    python -m search.storage list s3://bucket/runs

A search with ``--storage URI`` writes its run folder on the machine that drives it, as ever, and
copies there what changed. Trials write their checkpoints there themselves, from whatever node they
train on, so that the search can go on without the machine that began it. Credentials come from the
provider's usual places (environment, profile, the machine's role), never from the URI.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.fs
import typer

from emgmodels.sessions import read_info
from emgmodels.sessions.splits import SUFFIX, by_name
from emgmodels.windows import cache_folder
from emgmodels.writing import whole

ENGINE_FOLDER = ".ray"
"""Where Ray keeps its own state inside a run folder."""
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
_OPTIONS = ("endpoint_override", "region", "scheme", "allow_delayed_open")
"""What a URI may say after its question mark; no credentials among it."""
APPENDED = (".trials.rows", ".curves.rows")
"""Rows of a run folder's tables that are not in their Parquet files yet."""
_APPENDED = ".rows"
_UPLOADS = 8
"""Uploads at once."""
_HEADER = 1 << 18
"""Bytes of a session file that are read at once where only its header is wanted."""
_SECRET = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_OPTION = re.compile(r"(?i)([\w-]*(?:key|secret|token|password)[\w-]*=)[^&\s]+")


def is_uri(text: str | os.PathLike[str]) -> bool:
    """Return whether a text names a place in an object store, and not a path."""
    return "://" in str(text) and not str(text).startswith("file://")


def redact(text: str) -> str:
    """Return a text without the credentials that URIs in it hold.

    >>> redact("s3://KEY:SECRET@bucket/runs")
    's3://***@bucket/runs'
    """
    return _SECRET_OPTION.sub(r"\1***", _SECRET.sub("***@", text))


@dataclass(frozen=True)
class Place:
    """A folder in an object store."""

    uri: str

    def __post_init__(self) -> None:
        """Refuse what is no place, or tells a secret.

        Raises:
            ValueError: as said.
        """
        parts = urlsplit(self.uri)
        if parts.scheme not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ValueError(f"{redact(self.uri)}: must begin with one of {known} or be a path")
        options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if "@" in parts.netloc or any(name not in _OPTIONS for name in options):
            raise ValueError(
                f"{redact(self.uri)}: must not hold credentials; they come from the environment, a "
                f"profile or the machine's role. After a question mark there may be "
                f"{', '.join(_OPTIONS)}"
            )
        if not parts.netloc:
            raise ValueError(f"{self.uri}: names no bucket: {parts.scheme}://BUCKET/FOLDER")

    def __truediv__(self, name: str) -> Place:
        scheme, netloc, path, query, _ = urlsplit(self.uri)
        return Place(urlunsplit((scheme, netloc, f"{path.rstrip('/')}/{name}", query, "")))

    @property
    def name(self) -> str:
        """The folder's own name."""
        return PurePosixPath(urlsplit(self.uri).path).name

    def open(self) -> tuple[Any, str]:
        """Return pyarrow's file system and the folder's path in it.

        Raises:
            ValueError: it can't be reached; the message says why, without credentials.
        """
        try:
            return pa.fs.FileSystem.from_uri(self.uri)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.uri}: cannot be reached: {redact(str(error))}") from None

    def files(self) -> dict[str, Any]:
        """Return the files below it, by relative path: pyarrow's ``FileInfo``.

        Raises:
            ValueError: it can't be listed.
        """
        fs, path = self.open()
        selector = pa.fs.FileSelector(path, recursive=True, allow_not_found=True)
        try:
            found = fs.get_file_info(selector)
        except OSError as error:
            raise ValueError(f"{self.uri}: cannot be read: {redact(str(error))}") from None
        return {
            info.path[len(path) :].lstrip("/"): info
            for info in found
            if info.type == pa.fs.FileType.File
        }

    def write(self, name: str, content: bytes) -> None:
        """Write a file below it.

        Raises:
            ValueError: it can't be written.
        """
        fs, path = self.open()
        try:
            with fs.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
        except OSError as error:
            raise ValueError(f"{self.uri}: cannot be written: {redact(str(error))}") from None

    def read(self, name: str) -> bytes:
        """Return the content of a file below it.

        Raises:
            ValueError: it can't be read.
        """
        fs, path = self.open()
        try:
            with fs.open_input_stream(f"{path}/{name}") as stream:
                return stream.read()
        except OSError as error:
            raise ValueError(f"{self.uri}: cannot be read: {redact(str(error))}") from None

    def delete(self, names: Iterable[str]) -> None:
        """Delete files below it, those that are there."""
        fs, path = self.open()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                fs.delete_file(f"{path}/{name}")


@dataclass(frozen=True)
class StoredFile:
    """A file in one of pyarrow's file systems, which a node wrote."""

    fs: Any
    path: str

    def copy_to(self, target: Path) -> None:
        """Bring it to this machine."""
        with self.fs.open_input_stream(self.path) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


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
        self._sent |= changed
        gone = [] if names else [name for name in self._sent if name not in found]
        for name in gone:
            self.place.delete([name])
            del self._sent[name]


def fetch(place: Place, folder: Path) -> Path:
    """Bring a run folder to this machine: what is new, and not what only Ray needs.

    Args:
        place: the run folder's copy in an object store.
        folder: where to; what lies there is overwritten where storage has something newer.

    Returns:
        ``folder``.

    Raises:
        ValueError: there is no run folder.
    """
    files = place.files()
    if "space.yaml" not in files:
        raise ValueError(f"{place.uri}: is not the folder of a search: it holds no space.yaml")
    fs, _ = place.open()
    for name, info in sorted(files.items(), key=lambda file: file[0].endswith(_APPENDED)):
        target = folder / name
        if {ENGINE_FOLDER, ".."} & set(PurePosixPath(name).parts):
            continue
        if _is_new(info, target) and (target.suffix != _APPENDED or _is_new(info, _table(target))):
            _copy_down(fs, info, target)
    for rows in folder.rglob(f".*{_APPENDED}"):
        name, table = (path.relative_to(folder).as_posix() for path in (rows, _table(rows)))
        if name not in files and table in files and _is_new(files[table], rows):
            rows.unlink()  # another machine has gone on since
    return folder


class SessionStore:
    """A folder of session files in an object store; those asked for are brought to this machine.

    Args:
        uri: the folder; files two levels of subfolders deep are found as well.
    """

    def __init__(self, uri: str) -> None:
        self.place = Place(uri.rstrip("/"))
        self._folder = _cached(self.place.uri)

    def files(self) -> dict[str, Path]:
        """Return where each session lies on this machine once it is fetched, by name.

        Raises:
            ValueError: there are none, or two have the same name.
        """
        found = (n for n in self.place.files() if n.endswith(SUFFIX) and n.count("/") <= 2)
        return by_name(map(self._folder.joinpath, found), self.place.uri)

    def uri_of(self, path: str | Path) -> str:
        """Return the URI of the file that a path is the copy of."""
        relative = Path(path).resolve().relative_to(self._folder.resolve())
        return (self.place / relative.as_posix()).uri

    def user_of(self, path: Path) -> str:
        """Return whose session a file is, of which no more than its header is read.

        Raises:
            ValueError: it is not a session, or can't be read.
        """
        uri = self.uri_of(path)
        fs, name = Place(uri).open()
        try:
            with io.BufferedReader(fs.open_input_file(name), _HEADER) as file:
                return read_info(uri, file).user
        except OSError as error:
            raise ValueError(f"{uri}: cannot be read: {redact(str(error))}") from None

    def fetch(self, paths: Iterable[Path]) -> None:
        """Bring sessions to this machine, those that it has not got as they are in the store."""
        for path in paths:
            local_file(self.uri_of(path))


def local_file(source: str) -> Path:
    """Return a file on this machine: a path as it is, what a URI names brought into the cache.

    Raises:
        ValueError: there is no such file.
    """
    if not is_uri(source):
        return Path(source)
    fs, path = Place(source).open()
    try:
        info = fs.get_file_info(path)
    except OSError as error:
        raise ValueError(f"{source}: cannot be read: {redact(str(error))}") from None
    if info.type != pa.fs.FileType.File:
        raise ValueError(f"{source}: is not there")
    target = _cached(source)
    if not (target.is_file() and _same(target, info)):
        _copy_down(fs, info, target)
    return target


def local_run(run: str | Path) -> Path:
    """Return a run folder on this machine: a path as it is, a URI's files fetched into the cache.

    Raises:
        ValueError: the URI is none of a run folder.
    """
    if not is_uri(run):
        return Path(run)
    place = Place(str(run).rstrip("/"))
    parts = urlsplit(place.uri)
    where = re.sub(r"[^\w.-]+", "-", f"{parts.netloc}{parts.path}")
    return fetch(place, cache_folder().parent / "runs" / where / place.name)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("fetch")
def fetch_command(
    run: Annotated[str, typer.Argument(help="A run folder's URI.")],
    to: Annotated[Path | None, typer.Option(help="Where to; runs/NAME by default.")] = None,
) -> None:
    """Bring a run folder from an object store to this machine."""
    try:
        place = Place(run.rstrip("/"))
        typer.echo(fetch(place, to or Path("runs") / place.name))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {redact(str(error))}", err=True)
        raise typer.Exit(2) from None


@app.command("list")
def list_command(
    storage: Annotated[str, typer.Argument(help="What a search was given as --storage.")],
) -> None:
    """List the run folders in an object store."""
    try:
        place = Place(storage.rstrip("/"))
        for name in sorted(place.files()):
            if name.count("/") == 1 and name.endswith("/space.yaml"):
                typer.echo((place / name.split("/")[0]).uri)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {redact(str(error))}", err=True)
        raise typer.Exit(2) from None


def _local(folder: Path) -> dict[str, Path]:
    """Return a run folder's files by relative path, without Ray's own and half-written ones."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and ENGINE_FOLDER not in path.relative_to(folder).parts
        and (not path.name.startswith(".") or path.name in APPENDED)
    }


def _cached(uri: str) -> Path:
    """Return where a URI's content lies on this machine."""
    parts = urlsplit(uri)
    names = PurePosixPath(parts.path.lstrip("/")).parts
    if ".." in names:
        raise ValueError(f"{uri}: must not hold '..'")
    return cache_folder().parent.joinpath("data", f"{parts.scheme}-{parts.netloc}", *names)


def _copy_down(fs: Any, info: Any, target: Path) -> None:
    """Bring a file here in one step, with its time."""
    with whole(target) as scratch:
        StoredFile(fs, info.path).copy_to(scratch)
        if info.mtime_ns is not None:
            os.utime(scratch, ns=(info.mtime_ns, info.mtime_ns))


def _copy_up(fs: Any, source: Path, target: str) -> None:
    with fs.open_output_stream(target) as stream:
        stream.write(source.read_bytes())


def _is_new(info: Any, path: Path) -> bool:
    """Return whether a stored file is newer than one of this machine, as far as times tell."""
    if not path.is_file():
        return True
    stat = path.stat()
    if info.mtime_ns in (None, stat.st_mtime_ns):  # stores count whole seconds
        return info.size != stat.st_size
    return info.mtime_ns > stat.st_mtime_ns


def _table(rows: Path) -> Path:
    """Return the table whose appended rows a file holds."""
    return rows.with_name(f"{rows.stem[1:]}.parquet")


def _same(path: Path, info: Any) -> bool:
    stat = path.stat()
    return stat.st_size == info.size and stat.st_mtime_ns == info.mtime_ns


if __name__ == "__main__":
    app(prog_name="python -m search.storage")
