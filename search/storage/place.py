"""Places in an object store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.fs

from emgmodels.atomic import whole
from emgmodels.paths import local_path
from emgmodels.redaction import redact

__all__ = ["Place", "StoredFile", "copy_down", "is_uri", "local_path", "redact"]

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
_OPTIONS = ("endpoint_override", "region", "scheme", "allow_delayed_open")
"""What a URI may say after its question mark; no credentials among it."""


def is_uri(text: str | os.PathLike[str]) -> bool:
    """Return whether a text names a place in an object store, and not a path."""
    return "://" in str(text) and not str(text).lower().startswith("file:")


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
        # A URI is written into environment.json and shown on the console. A secret in it would be
        # copied with each run.
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
        # In an object store a folder without objects does not exist, and an empty place is no
        # mistake.
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
            # Another machine may have deleted it first.
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

    def share_with(self, target: Path) -> None:
        """Bring it to this machine; where it lies here already, both names share one file.

        Only for files that nobody changes, as those written whole are.
        """
        if isinstance(self.fs, pa.fs.LocalFileSystem):
            with contextlib.suppress(OSError):  # another disk, or one that knows no links
                os.link(self.path, target)
                return
        self.copy_to(target)


def copy_down(
    fs: Any,
    info: Any,
    target: Path,
    note: Callable[[Path, os.stat_result], None] | None = None,
) -> None:
    """Bring a file here in one step, with its time.

    Args:
        fs: pyarrow's file system.
        info: what it says of the file.
        target: where to.
        note: called with the target, and what is known of the file, before it takes its place.
    """
    with whole(target) as scratch:
        StoredFile(fs, info.path).copy_to(scratch)
        if info.mtime_ns is not None:
            # With the store's time, the next fetch sees that nothing has changed.
            os.utime(scratch, ns=(info.mtime_ns, info.mtime_ns))
        if note is not None:
            note(target, scratch.stat())
