"""The sessions of a training: those that are named, else those of the run that its file lies in."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from emgmodels.saying import counted
from emgmodels.scoring import RankBy
from emgmodels.sessions import Split, apart, find_split, read_people
from emgmodels.sessions.splits import SUBSETS

_FACTS, _SPLIT = "environment.json", "split.yaml"
"""Files of a run folder: what a search ran on, and which sessions trained and validated."""


def choose_sessions(
    config: Path,
    data: Path | None,
    subject: str | None,
    split: Path | None,
    people: str | None = None,
    seed: int = 0,
) -> Split:
    """Return the sessions to train and validate on.

    Args:
        config: a training's YAML; of a run's ``best.yaml`` the run's own sessions are taken.
        data: folder with session files; None: where the run's sessions were.
        subject: whose sessions, instead of the run's.
        split: split file, instead of the run's.
        people: which users are held out, instead of the run's split.
        seed: draws them.

    Raises:
        ValueError: no sessions are named, or they are not where they were.
    """
    run = config.absolute().parent
    held_out = None if people is None else read_people(people)
    if data is None:
        files = _files_of(run)
        if files is None:
            raise ValueError(
                f"--data: name a folder with session files: {config} does not lie in the folder of "
                f"a search, whose sessions would be taken"
            )
        if held_out is not None:
            return find_split(_folder(run, files), subject, split, seed, held_out)
        if subject is None and split is None:
            return _there(run, files)
        return find_split(_folder(run, files), subject, split)
    if held_out is not None:
        return find_split(data, subject, split, seed, held_out)
    if subject is None and split is None and (run / _SPLIT).is_file():
        try:
            return find_split(data, None, run / _SPLIT)
        except ValueError:  # others than the run's: they are divided as everywhere
            return find_split(data)
    return find_split(data, subject, split)


def facts_beside(config: Path) -> dict[str, Any]:
    """Return what is known of the search in whose folder a training's YAML lies; empty: of none."""
    path = config.absolute().parent / _FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def ranked_by(facts: Mapping[str, Any]) -> RankBy | None:
    """Return the CER that a search ranked by, of what is known of it; None: it is not known."""
    people = facts.get("people")
    by = people.get("rank_by") if isinstance(people, dict) else None
    return by if by in get_args(RankBy) else None


def drawn_with(facts: Mapping[str, Any], otherwise: int) -> int:
    """Return the seed by which a search drew who is held out, or another where it is not known."""
    seed = facts.get("seed")
    return seed if type(seed) is int else otherwise


def threads_given(facts: Mapping[str, Any]) -> int | None:
    """Return the threads of a trial of a search; None: it is not known, or trials had GPUs.

    As many come to the same CER at each epoch, and are no slower where others use the machine.
    """
    given = facts.get("resources_per_trial")
    cpus = given.get("cpus") if isinstance(given, dict) and not given.get("gpus") else None
    if not isinstance(cpus, int | float):
        return None
    return max(1, min(math.floor(cpus), os.cpu_count() or 1))


def _files_of(run: Path) -> dict[str, Any] | None:
    """Return what a run folder says of its sessions; None: it is none, or says nothing."""
    try:
        facts = json.loads((run / _FACTS).read_text(encoding="utf-8"))
        split = {name: tuple(map(str, facts["split"].get(name, ()))) for name in SUBSETS}
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"{run / _FACTS}: does not say which sessions the search had: name them with --data"
        ) from None
    if not (split["train"] and split["val"]):
        return None
    return {**split, "subject": str(facts.get("subject", "unknown"))}


def _there(run: Path, files: dict[str, Any]) -> Split:
    """Return the sessions of a run, all of which have to be where they were."""
    needed = [*files["train"], *files["val"]]
    if stored := [file for file in needed if "://" in file]:
        raise ValueError(
            f"{run}: its sessions lie in an object store ({stored[0]}): bring them to this machine "
            f"and name their folder with --data"
        )
    if gone := [file for file in needed if not Path(file).is_file()]:
        raise ValueError(
            f"{run}: {len(gone)} of its {counted(len(needed), 'session')} are not where they "
            f"were ({gone[0]}): name their folder with --data; those of a demo are written again "
            f"by python -m search.evaluate"
        )
    train, val, test = (tuple(map(Path, files[name])) for name in SUBSETS)
    chosen = Split(files["subject"], train, val, test, origin=f"as {run.name} searched")
    return apart(chosen, ("train", "val"))


def _folder(run: Path, files: dict[str, Any]) -> Path:
    """Return the folder of a run's sessions, to choose others from."""
    folders = {Path(file).parent for file in (*files["train"], *files["val"])}
    if len(folders) != 1:
        raise ValueError(f"{run}: its sessions lie in several folders: name one with --data")
    return folders.pop()
