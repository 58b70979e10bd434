"""The cache of recordings on this machine: converted once, kept until there is no room.

A recording's folder is made beside its place, locked, and moved there when it is complete. So an
interrupted conversion leaves nothing but a folder that the next one removes. A process that opens a
recording holds a shared lock on its ``recording.json``; what is locked is never evicted. Beyond
``$EMGSEARCH_CACHE_GB`` gigabytes (100) the least recently opened recordings go. A damaged one is
converted again. Where a file system knows no locks, nothing is evicted. A folder is a recording's
by its name and its files; whatever else lies in the cache is never touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from emgmodels.atomic import whole
from emgmodels.config import BANDS
from emgmodels.paths import several
from emgmodels.sessions import Split, read_session
from emgmodels.sessions.lag import KeyLag
from emgmodels.windows.conversion import FILES, META, UNFINISHED, convert
from emgmodels.windows.home import (
    cache_folder,
    fetched_files,
    make_home,
    naming_cache,
    remove_fetched,
)
from emgmodels.windows.prompts import prompt_notes
from emgmodels.windows.recording import (
    VALIDATION_SECONDS,
    Recording,
    check_recordings,
    check_times,
    left_out,
    remarks_of,
)
from emgmodels.windows.users import check_users

FORMAT = 4
"""Version of the cache's layout, part of its key."""
DEFAULT_LIMIT = 100.0
"""Gigabytes that recordings may take."""
Opener = Callable[[Sequence[Path], Callable[[Path], None] | None], list[Recording]]
"""Opens the recordings of session files: ``prepare``, or one that converts none."""
_DISCARDED = "discarded"
_ARRAYS = ("labels", "first", "last", "prompts")
_MEMO = re.compile(r"\d+ \d+ \d+ \d+\n[0-9a-f]{32}")


@dataclass(frozen=True)
class CachedRecording:
    """A recording in the cache.

    Attributes:
        folder: where it is.
        name: its session; empty if the folder is damaged.
        source: file that it was converted from.
        bytes: its size.
        opened: when it was opened last (unix seconds).
        in_use: some process has it open.
    """

    folder: Path
    name: str
    source: str
    bytes: int
    opened: float
    in_use: bool


def cache_limit() -> int:
    """Return the bytes that recordings may take.

    Raises:
        ValueError: ``$EMGSEARCH_CACHE_GB`` is not a size.
    """
    text = os.environ.get("EMGSEARCH_CACHE_GB", str(DEFAULT_LIMIT))
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise ValueError(f"EMGSEARCH_CACHE_GB={text}: must be gigabytes, such as 100")
    return int(min(limit * 1e9, 2**62))


def prepare(
    paths: str | Path | Sequence[str | Path], progress: Callable[[Path], None] | None = None
) -> list[Recording]:
    """Return the recordings of session files, converting those that are not in the cache.

    Several processes may prepare the same files at once. What they have open stays in the cache,
    even where it is larger than its limit.

    Args:
        paths: session files, or one.
        progress: called with each path when its recording is ready.

    Raises:
        ValueError: a file is not a session; see ``sessions.read_session``. Or the cache has no room
            or can't be written.
    """
    recordings, limit, converted = [], cache_limit(), False
    make_home()
    for path in map(Path, several(paths)):
        folder = cache_folder() / _content_key(path)
        recording = _open(folder)
        # Another process may evict what was just converted before it is opened.
        while recording is None:  # evicted again between conversion and opening, at worst
            session = read_session(path)
            with naming_cache():
                convert(session, folder, path)
            recording, converted = _open(folder), True
        recordings.append(recording)
        if progress is not None:
            progress(path)
    if converted:
        with naming_cache():
            _remove_unfinished()
            evict(limit)
    return recordings


def find(path: Path) -> Recording | None:
    """Return the recording of a session file if the cache has it; nothing is converted for it."""
    with suppress(OSError, EOFError, ValueError, KeyError, TypeError):
        _, _, key = _remembered(path)
        return _read(cache_folder() / key) if key else None
    return None


def open_split(
    split: Split,
    progress: Callable[[Path], None] | None = None,
    opener: Opener = prepare,
) -> tuple[list[Recording], list[Recording], list[str]]:
    """Return training and validation recordings, and what the user should know of them.

    Sessions without a window are left out: those shorter than one, and those of prompts that have
    none inside. The test sessions are not touched.

    Args:
        split: which sessions.
        progress: called with each path when its recording is ready.
        opener: opens the recordings of paths.

    Raises:
        ValueError: a file is not a session, none of its keys is inside, no session is long enough,
            or there are no keys.
    """
    warnings: list[str] = list(split.notes)
    subsets = []
    for name, paths in (("training", split.train), ("validation", split.val)):
        recordings = opener(paths, progress)
        warnings += remarks_of(name, recordings)
        kept = []
        for recording, path in zip(recordings, paths, strict=True):
            warnings += check_times(recording, path)
            if why := left_out(recording):
                warnings.append(f"{name} session {recording.name} is left out: {why}")
            else:
                kept.append(recording)
        check_recordings(kept or recordings, name, VALIDATION_SECONDS)
        if name == "validation":
            check_users(kept)
        warnings += prompt_notes(kept, name)
        subsets.append(kept)
    return subsets[0], subsets[1], warnings


def entries() -> list[CachedRecording]:
    """Return the recordings in the cache, the least recently opened first."""
    found = [_entry(path) for path in cache_folder().glob("[0-9a-f]*") if _is_recording(path)]
    return sorted(found, key=lambda entry: entry.opened)


def evict(limit: int) -> int:
    """Remove the least recently opened recordings until the rest fits, but none that is in use.

    Args:
        limit: bytes that may stay.

    Returns:
        Bytes freed.
    """
    found = entries()
    total, freed = sum(entry.bytes for entry in found), 0
    for entry in found:
        if total - freed > limit and not entry.in_use and _remove(entry.folder):
            freed += entry.bytes
    return freed


def clear() -> int:
    """Remove every recording that is not in use, and what killed conversions left; return bytes.

    Where none is in use, session files and run folders that were brought here go as well. What the
    cache did not write stays.

    Raises:
        ValueError: the cache can't be written.
    """
    with naming_cache():
        _remove_unfinished()
        freed = evict(-1)
        _remove_memos()
        if not entries():
            freed += fetched_bytes()
            remove_fetched()
    return freed


def fetched_bytes() -> int:
    """Return what lies beside the recordings: files from object stores, a typist's sessions."""
    return sum(path.stat().st_size for path in fetched_files())


def _remove_memos() -> None:
    """Forget the contents of source files."""
    folder = cache_folder() / "sources"
    for memo in folder.glob("[0-9a-f]*"):
        with suppress(OSError, UnicodeDecodeError):
            if not memo.is_symlink() and _MEMO.fullmatch(memo.read_text(encoding="ascii")):
                memo.unlink()
    with suppress(OSError):  # it holds something else, or is not there
        folder.rmdir()


def _content_key(path: Path) -> str:
    """Return the hash of a file's content, remembered for as long as the file stays as it is."""
    try:
        memo, signature, known = _remembered(path)
        if known is not None:
            return known
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    key = _digest(f"{FORMAT} {content.hexdigest()}".encode())
    with naming_cache(), whole(memo) as scratch:
        scratch.write_text(f"{signature}\n{key}", encoding="ascii")
    return key


def _remembered(path: Path) -> tuple[Path, str, str | None]:
    """Return where a file's hash is remembered, what tells the file as it is, and the hash."""
    stat = path.stat()
    memo = cache_folder() / "sources" / _digest(str(path.resolve()).encode())
    signature = f"{FORMAT} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
    known, key = "", ""
    if memo.is_file():
        known, _, key = memo.read_text(encoding="ascii").partition("\n")
    return memo, signature, key if known == signature else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _open(folder: Path) -> Recording | None:
    """Return a recording, kept in the cache while it lives; None where there is none.

    What is damaged is removed.

    Raises:
        ValueError: something that the cache did not write is in its place.
    """
    with naming_cache():
        try:
            return _read(folder)
        except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, KeyError, TypeError):
            pass
        if os.path.lexists(folder):
            if not _is_recording(folder):
                raise ValueError(
                    f"{folder}: a recording belongs there, but it holds something that the cache "
                    f"did not write: move that elsewhere"
                )
            _discard(folder)
    return None


def _read(folder: Path) -> Recording:
    file = open(folder / META, encoding="utf-8")  # noqa: SIM115
    with suppress(OSError):  # no locks here, and so no eviction
        # The kernel frees the lock with the process, however that ends. So no stale mark can keep
        # or lose a recording.
        fcntl.flock(file, fcntl.LOCK_SH)
    os.utime(folder / META)
    meta = json.loads(file.read())
    emg = np.load(folder / "emg.npy", mmap_mode="r")
    arrays = {name: np.load(folder / f"{name}.npy") for name in _ARRAYS}
    return Recording(
        name=meta["name"],
        emg=emg.reshape(BANDS, -1, emg.shape[1]),
        has_key_times=meta["has_key_times"],
        remarks=tuple(meta["remarks"]),
        in_use=file,
        **arrays,
        user=meta["user"],
        key_lag=None if meta["key_lag"] is None else KeyLag(*meta["key_lag"]),
    )


def _is_recording(path: Path) -> bool:
    """Return whether a folder is a recording's, a damaged one's included, and holds no more."""
    return re.fullmatch("[0-9a-f]{32}", path.name) is not None and _is_own(path)


def _is_own(folder: Path) -> bool:
    """Return whether a folder holds files of a recording, and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    with suppress(FileNotFoundError):  # another process removed it
        files = list(folder.iterdir())
        return all(file.name in FILES and file.is_file() for file in files)
    return False


def _entry(folder: Path) -> CachedRecording:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        opened = (folder / META).stat().st_mtime
        size = sum(path.stat().st_size for path in folder.iterdir())
        name, source = str(meta["name"]), str(meta.get("source", ""))
    except (OSError, ValueError, KeyError, TypeError):
        return CachedRecording(folder, "", "", 0, 0.0, in_use=False)
    with _locked(folder) as free:
        return CachedRecording(folder, name, source, size, opened, not free)


def _remove(folder: Path) -> bool:
    """Remove a recording in one step; return whether it was free to be removed."""
    with _locked(folder) as free:
        if not free:
            return False
        _discard(folder)
    return True


def _discard(folder: Path) -> None:
    """Take a folder out of the cache in one step; a process that has its files open keeps them."""
    scratch = tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent)
    with scratch as place, suppress(FileNotFoundError):  # another process was first
        folder.rename(Path(place) / _DISCARDED)


def _remove_unfinished() -> None:
    """Remove what killed processes left half written."""
    for scratch in cache_folder().glob(f"{UNFINISHED}*"):
        with _locked(scratch) as free:
            young = not (scratch / META).exists() and time.time() - _made(scratch) < 60
            if free and not young and (_is_own(scratch) or _is_discarded(scratch)):
                shutil.rmtree(scratch, ignore_errors=True)


def _is_discarded(scratch: Path) -> bool:
    """Return whether a folder holds nothing but a recording that was being removed."""
    inside = [] if scratch.is_symlink() else list(scratch.glob("*"))
    return [path.name for path in inside] == [_DISCARDED] and _is_own(inside[0])


def _made(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock against all that would open it; yield whether it could be had."""
    file: IO[str] | None = None
    try:
        file = open(folder / META, "r+", encoding="utf-8")  # noqa: SIM115 - NFS wants it writable
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except FileNotFoundError:
        free = True
    except OSError:  # somebody has it open, or nobody can tell
        free = False
    try:
        yield free
    finally:
        if file is not None:
            file.close()
