"""Which session files a search is about, where they are now."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from emgmodels.saying import counted
from emgmodels.sessions import SessionInfo, read_info, session_paths
from emgmodels.sessions.files import session_digest
from emgmodels.sessions.finding import by_name, same_spelling
from emgmodels.sessions.split_file import read_split_file
from search.results.demo_sessions import written_again
from search.results.facts import SPLIT, read_facts
from search.storage import SessionStore, is_uri, local_path

SETS = {"train": "training", "val": "validation", "test": "test"}


def session_files(
    run: Path, facts: Mapping[str, Any], subset: str, data: str | Path | None = None
) -> tuple[str, ...]:
    """Return a search's session files of a subset: paths, or an object store's URIs.

    Args:
        run: the run folder.
        facts: what its ``environment.json`` says.
        subset: a key of ``SETS``.
        data: folder that holds them now, or its URI; None: where the search found them.

    Raises:
        ValueError: the run does not name them, files are missing, or files of these names are of
            other users or other recordings.
    """
    split = facts.get("split", {})
    if subset not in split:
        raise ValueError(
            f"{run / 'environment.json'}: split.{subset}: is missing, so it does not say which "
            f"sessions are for {SETS[subset]}: search again with this version"
        )
    known = tuple(split[subset])
    if not known:
        raise ValueError(f"{run}: its split has no {SETS[subset]} sessions")
    if data is None:
        # Where nothing is said, the files must lie where the search found them.
        found = {old: old for old in known if is_uri(old) or Path(old).is_file()}
    else:
        found = _found(known, data, facts.get("subject"), _users(run))
    missing = [old for old in known if old not in found]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(known)} {SETS[subset]} sessions are missing"
            f"{'' if data is None else f' in {data}'}; say with --data DIR where they are now:\n"
            + "\n".join(f"  {path}" for path in missing)
        )
    files = tuple(found[old] for old in known)
    if not any(map(is_uri, files)):
        check_recordings(facts, subset, files)
    return files


def recordings_of(sets: Mapping[str, Sequence[str | Path]]) -> dict[str, list[str]]:
    """Return what ``environment.json`` notes of the recordings, by which they are known again.

    Args:
        sets: session files on this machine, by key of ``SETS``.
    """
    return {subset: [session_digest(file) for file in files] for subset, files in sets.items()}


def has_recordings(facts: Mapping[str, Any], sets: Mapping[str, Sequence[str | Path]]) -> bool:
    """Return whether a search had just these recordings, as far as it noted them.

    Args:
        facts: what its ``environment.json`` says.
        sets: session files on this machine, by key of ``SETS``, in any order.
    """
    noted = facts.get("recordings", {})
    own = recordings_of({subset: files for subset, files in sets.items() if subset in noted})
    return all(sorted(noted[subset]) == sorted(found) for subset, found in own.items())


def check_recordings(facts: Mapping[str, Any], subset: str, files: Sequence[str | Path]) -> None:
    """Refuse files of a subset that are other recordings than the search had under these names.

    Args:
        facts: what ``environment.json`` says; that of a demo and of older runs notes nothing.
        subset: a key of ``SETS``.
        files: its session files on this machine, in the order of the split.

    Raises:
        ValueError: the EMG or what was typed is another; the message names all such files.
    """
    noted = facts.get("recordings", {}).get(subset, ())
    if others := [
        file for file, digest in zip(files, noted, strict=False) if session_digest(file) != digest
    ]:
        sessions = f"{SETS[subset]} session"
        raise ValueError(
            f"{counted(len(others), f'{sessions} has', f'{sessions}s have')} other EMG or other "
            f"keys than when the search began: put the old files back, name their folder with "
            f"--data DIR, or search anew:\n" + "\n".join(f"  {file}" for file in others)
        )


def sessions_of(run: str | Path, subset: str = "val", data: str | Path | None = None) -> list[str]:
    """Return the session files that a search trained on, validated on or kept for testing.

    Those of a demo are written again if they are not there any more.

    Args:
        run: the run folder.
        subset: ``train``, ``val`` or ``test``.
        data: folder that holds them now, or its URI; None: where the search found them.

    Raises:
        ValueError: it is no run folder, there is no such subset, or files are missing.
    """
    if subset not in SETS:
        raise ValueError(f"subset {subset!r} is unknown: choose one of {', '.join(SETS)}")
    facts = read_facts(Path(run) / "environment.json")
    if data is None:
        data = written_again(Path(run), facts)
    return list(session_files(Path(run), facts, subset, data))


def is_synthetic(facts: Mapping[str, Any]) -> bool:
    """Return whether a search's sessions were written by a synthetic typist.

    Args:
        facts: what its ``environment.json`` says. ``synthetic`` marks a demo, whose sessions the
            search wrote itself; a subject's name marks sessions of ``emgmodels.synthetic``.
    """
    subject = str(facts.get("subject", ""))
    is_known = subject.startswith("synthetic") or subject.endswith(" synthetic people")
    return bool(facts.get("synthetic")) or is_known


def _name(source: str) -> str:
    """Return the name of the session that a path or a URI, with its options, is of."""
    return PurePosixPath(urlsplit(source).path if is_uri(source) else source).stem


def _users(run: Path) -> dict[str, set[str]]:
    """Return whose the sessions of a search are, by their names, as far as its split says it."""
    with contextlib.suppress(ValueError):  # older runs have no split file
        dataset = read_split_file(run / SPLIT).dataset
        users: dict[str, set[str]] = {}
        for entry in (*dataset.train, *dataset.val, *dataset.test):
            users.setdefault(same_spelling(entry.session), set()).add(same_spelling(entry.user))
        return users
    return {}


def _check_user(path: Path, info: SessionInfo, users: set[str]) -> None:
    """Refuse a file that names another user: names such as "session-1" are many people's."""
    if info.is_user_known and same_spelling(info.user) not in users:
        raise ValueError(
            f"{path}: is a session of user {info.user}, and the search had one of this name of "
            f"{', '.join(sorted(users))}: name the folder of the search's own sessions"
        )


def _found(
    known: Sequence[str], data: str | Path, subject: str | None, users: Mapping[str, set[str]]
) -> dict[str, str]:
    """Return where sessions lie in a folder or under a URI; those that are missing are left out.

    Raises:
        ValueError: the subject has two sessions of one name, or a file is another user's.
    """
    store = SessionStore(str(data)) if is_uri(data) else None
    named: dict[str, list[Path]] = {}
    for path in session_paths(local_path(data)) if store is None else store.paths():
        named.setdefault(same_spelling(path.stem), []).append(path)
    info_of = read_info if store is None else store.info_of
    found = {}
    for old in known:
        # macOS writes an accented letter as two characters and Linux as one.
        paths = named.get(same_spelling(_name(old)), [])
        if len(paths) > 1:  # two subjects may have used one name
            own = [path for path in paths if info_of(path).user == subject]
            # Of people, each has a folder, and the folders may have been moved together.
            folder = PurePosixPath(urlsplit(old).path if is_uri(old) else old).parent.name
            paths = own or [path for path in paths if path.parent.name == folder] or paths
        for path in by_name(paths, str(data)).values():
            if own_users := users.get(same_spelling(_name(old))):
                _check_user(path, info_of(path), own_users)
            found[old] = str(path.absolute()) if store is None else store.uri_of(path)
    return found
