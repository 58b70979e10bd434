"""Which session files a search is about, where they are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
            f"{run / 'environment.json'}: does not say which sessions are for {SETS[subset]}: "
            f"search again with this version"
        )
    known = tuple(split[subset])
    if not known:
        raise ValueError(f"{run}: its split has no {SETS[subset]} sessions")
    found = known
    if data is not None:
        files = _files(data)
        found = tuple(files.get(Path(old).stem, f"{data}/{Path(old).name}") for old in known)
    missing = [path for path in found if not is_uri(path) and not Path(path).is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(found)} {SETS[subset]} sessions are missing; say with --data "
            f"DIR where they are now:\n" + "\n".join(f"  {path}" for path in missing)
        )
    return found


def _files(data: str | Path) -> dict[str, str]:
    """Return the session files of a folder or a URI, by session name."""
    if not is_uri(data):
        return {name: str(path.absolute()) for name, path in find_session_files(data).items()}
    store = SessionStore(str(data))
    return {name: store.uri_of(path) for name, path in store.files().items()}
