"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which then takes its place in one step.

    Its folder is made. An error, such as a full disk, leaves nothing behind but what was there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the file, since only within one file system is a move a single step. A new name,
    # since another process may write the same file.
    scratch = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def unlinked(path: str, flags: int) -> int:
    """Open a file, as ``opener`` of ``open``, unless it is a link: what it names is not ours."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def append(path: Path, content: bytes, force: bool = False) -> int:
    """Append to a file, all or nothing; a full disk takes a part and refuses the rest.

    Args:
        path: the file, made where it is missing; nobody else appends meanwhile.
        content: what to append.
        force: wait until it is on the disk.

    Returns:
        The file's size.

    Raises:
        OSError: there is no room, and the file is as it was; or it is a link.
    """
    with open(path, "ab", buffering=0, opener=unlinked) as file:
        begin = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            # A part of a row would stand in front of the next one, and nothing could read them.
            file.truncate(begin)
            raise
        if force:
            os.fsync(file.fileno())
        return file.tell()
