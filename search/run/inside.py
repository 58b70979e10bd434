"""Run folders inside that of a search: fixed trainings that say more about its winners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.results.facts import SPLIT
from search.results.folder import RunFolder
from search.results.own_files import check_own
from search.results.record import COMPLETE, STOPPED, TrialRecord
from search.storage import Place

COMPARED = "people_compared"
"""The fact by which a folder of trainings on people is known; ``search.people`` writes it."""


def folder_inside(folder: RunFolder, facts: Mapping[str, Any], name: str, fact: str) -> RunFolder:
    """Return the folder of the trainings, as far as there are any; nothing is written.

    Args:
        folder: that of the search.
        facts: what its ``environment.json`` says.
        name: of the folder.
        fact: by which it is known, in its own ``environment.json``.

    Raises:
        ValueError: something else lies there.
    """
    path = folder.path / name
    if path.is_symlink() or (path.exists() and not _is_own(path, fact)):
        raise ValueError(f"{path}: was not written by this command: move it elsewhere")
    if path.is_dir():
        check_own(path)
    storage = Place(facts["storage"]) / name if facts.get("storage") else None
    begun = (path / "space.yaml").is_file()
    return RunFolder.open(path, storage) if begun else RunFolder(path, storage)


def is_done(trial: TrialRecord) -> bool:
    """Return whether a training ended by itself; one that diverged was stopped."""
    return trial.state in (COMPLETE, STOPPED)


def _is_own(path: Path, fact: str) -> bool:
    """Return whether a folder is that of such trainings, or one that nothing was written to yet."""
    if (path / "environment.json").is_file():
        return fact in RunFolder(path).read_environment()
    known = {"space.yaml", ".running", SPLIT, "start.pt"}
    return path.is_dir() and {each.name for each in path.iterdir()} <= known
