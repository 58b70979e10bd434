"""The sessions of a demo: a synthetic typist's, written into the cache of each machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emgmodels.windows.home import fetched_folder, make_home, naming_cache, note_fetched

if TYPE_CHECKING:
    from search.space import TypistConfig


def written_again(run: Path, facts: Mapping[str, Any]) -> Path | None:
    """Return the folder of a demo's sessions, written where they are missing, as on a new machine.

    Args:
        run: its run folder.
        facts: what its ``environment.json`` says.

    Returns:
        The folder; None: it was no demo, or another version's typist wrote them otherwise.
    """
    if not facts.get("synthetic"):
        return None
    from search.space import TypistConfig, load_space

    typist = load_space(run / "space.yaml", imports=False).typist or TypistConfig()
    return typist_folder(typist) if is_typists(facts, typist) else None


def is_typists(facts: Mapping[str, Any], typist: TypistConfig) -> bool:
    """Return whether a search's sessions are what this version's typist writes."""
    train = facts.get("split", {}).get("train")
    if not (facts.get("synthetic") and train):
        return False
    return Path(train[0]).parent.name == folder_of(typist).name


def paths_of(typist: TypistConfig) -> list[Path]:
    """Return where each session of synthetic typists lies, written or not."""
    from emgmodels.synthetic import names_of

    names = names_of(typist.subject, typist.users)
    folder = folder_of(typist)
    return [folder / f"{name}-{i:03d}.hdf5" for name in names for i in range(typist.sessions)]


def folder_of(typist: TypistConfig) -> Path:
    """Return where a synthetic typist's sessions lie, written or not."""
    from emgmodels.synthetic import VERSION

    users = f"{typist.users}u-" if typist.users > 1 else ""
    length = f"{users}{typist.sessions}x{typist.minutes:g}m"
    name = f"{typist.subject}-{length}-seed{typist.seed}-v{VERSION}"
    return fetched_folder() / "typist" / name


def typist_folder(typist: TypistConfig) -> Path:
    """Return the folder of a synthetic typist's sessions, written once for each typist."""
    from emgmodels.synthetic import write_subjects

    make_home()
    folder = folder_of(typist)
    if folder.is_dir():
        return folder
    with naming_cache():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as scratch:
            sessions = Path(scratch) / folder.name
            for path in write_subjects(
                sessions,
                typist.users,
                sessions=typist.sessions,
                minutes=typist.minutes,
                subject=typist.subject,
                seed=typist.seed,
            ):
                note_fetched(folder / path.name, path.stat())
            with contextlib.suppress(OSError):  # another search was first, with the same bytes
                sessions.rename(folder)
    return folder
