"""Where the cache lies on this machine, and which files in it are its own.

``$EMGSEARCH_CACHE`` may name any folder, one with a user's own files among them. So the cache marks
its folder when it makes it; in a folder that holds something else it makes one below. What was
fetched or generated is listed as it is written. What is not listed, or was changed since, is never
removed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emgmodels.atomic import append

VARIABLE = "EMGSEARCH_CACHE"
_BELOW = "emgsearch-cache"
"""The cache's folder inside of one that holds other things."""
_FETCHED = "emgsearch-fetched"
_LIST = "files.jsonl"
_TAG = ".emgsearch-cache"
"""No ``CACHEDIR.TAG``: backups would leave out what its user puts into the folder later."""
_SIGNATURE = "emgsearch cache 1"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Ray's workers start in another folder, where relative names would lead elsewhere.
_RELATIVE = (
    *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "TORCH_HOME"),
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR"),
)
"""Folders that libraries look up in the environment, each process for itself."""


def cache_home() -> Path:
    """Return the cache's own folder: ``$EMGSEARCH_CACHE``, or one below where that holds other
    things.

    Raises:
        ValueError: the variable is empty or names no folder.
    """
    root = _root()
    with naming_cache():
        try:
            found = {path.name for path in root.iterdir()}
        except FileNotFoundError:
            return root
    # Where a user's own files are, the cache goes one folder deeper: clearing it must never meet
    # them.
    is_own = not found or any(map(_is_marked, (root, root / _FETCHED)))
    return root if is_own or _has_recordings(root / "recordings") else root / _BELOW


def cache_folder() -> Path:
    """Return the folder of converted recordings on this machine.

    Raises:
        ValueError: ``$EMGSEARCH_CACHE`` is empty or names no folder.
    """
    return cache_home() / "recordings"


def fetched_folder() -> Path:
    """Return the folder of files that were fetched or generated, and can be again."""
    return cache_home() / _FETCHED


def make_home() -> Path:
    """Return the cache's own folder, made and marked where it is new.

    Raises:
        ValueError: it can't be written; the message names ``$EMGSEARCH_CACHE``.
    """
    home = cache_home()
    with naming_cache():
        home.mkdir(parents=True, exist_ok=True)
        if not any(home.iterdir()):
            _mark(home)
    return home


def settle_paths() -> None:
    """Make paths in the environment absolute, for processes that start in another folder.

    Raises:
        ValueError: ``$EMGSEARCH_CACHE`` is empty.
    """
    _root()
    for name in _RELATIVE:
        text = os.environ.get(name, "")
        if text and not text.startswith("~"):  # which libraries resolve equally everywhere
            os.environ[name] = os.path.abspath(text)


def note_fetched(path: Path, written: os.stat_result) -> None:
    """List a file below ``fetched_folder`` as the cache's own, before it is moved there.

    Args:
        path: where it is going to be.
        written: what the file system says of it where it is.
    """
    home = make_home()
    row = [path.relative_to(home / _FETCHED).as_posix(), written.st_size, written.st_mtime_ns]
    with naming_cache():
        (home / _FETCHED).mkdir(exist_ok=True)
        _mark(home / _FETCHED)
        # Listed before the file is moved: a kill in between leaves a line without a file, never a
        # file that nobody may remove.
        append(home / _FETCHED / _LIST, json.dumps(row).encode() + b"\n")


def is_fetched(path: Path) -> bool:
    """Return whether a file below ``fetched_folder`` was put there by the cache."""
    return path in _listed()


def fetched_files() -> list[Path]:
    """Return the files that were fetched or generated and are as they were."""
    place = fetched_folder().resolve()
    return [
        path
        for path, known in _listed().items()
        if path.resolve() == place / path.relative_to(fetched_folder())  # no link leads to it
        and path.is_file()
        # A file that was changed since is somebody's work now.
        and (path.stat().st_size, path.stat().st_mtime_ns) in known
    ]


def remove_fetched() -> None:
    """Remove the files that were fetched or generated, and folders that hold nothing else."""
    folder = fetched_folder()
    for path in fetched_files():
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == folder:
                break
            with suppress(OSError):  # it holds something else
                parent.rmdir()
    if not any(path.exists() for path in _listed()) and _is_marked(folder):
        for name in (_LIST, _TAG):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def naming_cache() -> Iterator[None]:
    """Name the cache and its variable where its folder can't be read or written.

    Raises:
        ValueError: instead of the ``OSError`` that says so.
    """
    try:
        yield
    except OSError as error:
        root, why = _root(), error.strerror or str(error)
        if error.errno in _FULL or "written" in str(error):  # numpy's words for a full disk
            remedy = (
                f"set {VARIABLE} to a folder on another disk, or make room: python -m "
                f"emgmodels.windows clear removes what no process has open"
            )
            raise ValueError(f"the cache in {root} has no room: {why}: {remedy}") from error
        if error.errno is None:  # of an object store, not of this machine
            raise
        raise ValueError(
            f"the cache in {root} cannot be used: {why}: set {VARIABLE} to a folder that you may "
            f"write to"
        ) from error


def _root() -> Path:
    """Return what ``$EMGSEARCH_CACHE`` names, as an absolute path from now on."""
    text = os.environ.get(VARIABLE)
    if text is not None and not text.strip():
        raise ValueError(f"{VARIABLE} is empty: name a folder, or unset it for ~/.cache/emgsearch")
    try:
        path = Path.home() / ".cache/emgsearch" if text is None else Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{VARIABLE}={text or ''}: {error}: name a folder") from None
    path = path.absolute()
    if text is not None:
        os.environ[VARIABLE] = str(path)  # processes that start in another folder have the same
    return path


def _mark(folder: Path) -> None:
    with suppress(FileExistsError):  # another process was first
        # O_EXCL never writes through a link, and only one of several processes marks the folder.
        tag = os.open(folder / _TAG, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        os.write(tag, f"{_SIGNATURE}\n".encode())
        os.close(tag)


def _is_marked(folder: Path) -> bool:
    """Return whether the cache made a folder."""
    try:
        return (folder / _TAG).read_text(encoding="utf-8", errors="replace").startswith(_SIGNATURE)
    except OSError:
        return False


def _has_recordings(folder: Path) -> bool:
    """Return whether a folder holds recordings; caches of earlier versions have no tag."""
    return any(folder.glob(f"{'[0-9a-f]' * 32}/recording.json"))


def _listed() -> dict[Path, list[tuple[int, int]]]:
    """Return sizes and times (ns) with which files were put into the cache."""
    folder = fetched_folder()
    try:
        lines = (folder / _LIST).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found: dict[Path, list[tuple[int, int]]] = {}
    for line in lines:
        with suppress(ValueError, TypeError):  # torn by a full disk, or not ours
            name, size, mtime_ns = json.loads(line)
            path = folder / name
            if ".." not in path.parts and path.is_relative_to(folder):
                found.setdefault(path, []).append((size, mtime_ns))
    return found
