"""Which session files a search is about, where they are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from emgmodels.sessions import find_session_files
from search.storage import SessionStore, is_uri

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
        ValueError: the run does not name them, or files are missing.
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
        found = {old: old for old in known if is_uri(old) or Path(old).is_file()}
    else:
        files = _files(data)
        found = {old: files[name] for old in known if (name := _name(old)) in files}
    missing = [old for old in known if old not in found]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(known)} {SETS[subset]} sessions are missing"
            f"{'' if data is None else f' in {data}'}; say with --data DIR where they are now:\n"
            + "\n".join(f"  {path}" for path in missing)
        )
    return tuple(found[old] for old in known)


def _name(source: str) -> str:
    """Return the name of the session that a path or a URI, with its options, is of."""
    return PurePosixPath(urlsplit(source).path if is_uri(source) else source).stem


def _files(data: str | Path) -> dict[str, str]:
    """Return the session files of a folder or a URI, by session name."""
    if not is_uri(data):
        return {name: str(path.absolute()) for name, path in find_session_files(data).items()}
    store = SessionStore(str(data))
    return {name: store.uri_of(path) for name, path in store.files().items()}
