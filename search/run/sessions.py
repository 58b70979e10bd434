"""The sessions that a search trains and validates on: chosen, written if need be, opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bars

from emgmodels.config import SAMPLE_RATE
from emgmodels.sessions import Split, apart, find_split, split_files
from emgmodels.windows.cache import open_split
from emgmodels.windows.recording import Recording
from search.display.words import say
from search.engine.schedulers import SCHEDULERS
from search.engine.trial import TrialData
from search.halving.rungs import aligned_epochs, defaults
from search.results.demo_sessions import typist_folder, written_again
from search.results.session_files import session_files
from search.space import Space, TypistConfig, sessions_of
from search.storage import SessionStore, local_path


def choose_sessions(
    space: Space,
    data: str | Path | SessionStore | None,
    subject: str | None,
    split: str | Path | None,
) -> Split:
    """Return which sessions to train, validate and test on; without data, a synthetic typist's.

    Of those in an object store the sessions to train and validate on are fetched, and no others.

    Raises:
        ValueError: the sessions, the subject or the split file are not to be had.
    """
    if isinstance(data, SessionStore):
        found = split_files(
            data.paths(), data.place.uri, subject, split, space.search.seed, data.info_of
        )
        data.fetch([*found.train, *found.val])
        return apart(found, ("train", "val"))
    if data is not None:
        split = None if split is None else local_path(split)
        return find_split(local_path(data), subject, split, seed=space.search.seed)
    if subject is not None or split is not None:
        raise ValueError("--subject and --split choose from session files: give --data DIR too")
    typist = space.typist or TypistConfig()
    return find_split(typist_folder(typist), seed=typist.seed)


def open_sessions(split: Split, space: Space, console: Console) -> tuple[TrialData, Space]:
    """Return what trials train on, all found good, and the space as these sessions allow it."""
    paths = [*split.train, *split.val]
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("Preparing sessions", total=len(paths))
        train, val, warnings = open_split(split, lambda _: bars.advance(task))
    say(
        console,
        f"Data: {_minutes(train)} of training in {len(train)} sessions, {_minutes(val)} of "
        f"validation in {len(val)}, subject {split.subject}; sessions kept for "
        f"testing and not touched: {len(split.test)}. Split: {split.origin}.",
    )
    notes = []
    aligned = aligned_epochs(space.training.plain())
    prompted = sum(not recording.has_key_times for recording in train)
    if prompted and space.training.plain().get("aligned_start") is not None:
        notes.append("an aligned start needs key times: it is skipped for prompts")
        if 2 * prompted > len(train):
            aligned = 0
    for note in [*warnings, *notes]:
        say(console, f"note: {note}")
    data = TrialData(
        train=tuple(map(os.path.abspath, split.train)),
        val=tuple(map(os.path.abspath, split.val)),
        prompted=(prompted, sum(not recording.has_key_times for recording in val)),
    )
    return data, _with_rungs(space, aligned).within(sessions_of(train, val))


def sessions_again(
    run: Path, facts: Mapping[str, Any], data: str | Path | None, space: Space
) -> tuple[TrialData, dict[str, Any]]:
    """Return what the trials of an earlier search train on, and its split, as they lie now.

    A synthetic typist's sessions are written anew where they are missing.

    Args:
        run: the run folder.
        facts: what its ``environment.json`` says.
        data: folder that holds the sessions now, or its URI; None: where they were.
        space: what it searches.

    Raises:
        ValueError: sessions are missing.
    """
    split = dict(facts.get("split", {}))
    if data is None:
        data = written_again(facts, space.typist or TypistConfig())
    for subset in ("train", "val"):
        split[subset] = session_files(run, facts, subset, data)
    with contextlib.suppress(ValueError):  # they are needed when the search is over
        split["test"] = session_files(run, facts, "test", data)
    return TrialData(train=split["train"], val=split["val"]), split


def _with_rungs(space: Space, aligned: int) -> Space:
    """Return the space with the rungs of its scheduler written out: a resumed search has the same.

    Args:
        space: what is searched.
        aligned: epochs that every trial starts aligned, at least, on these sessions.
    """
    scheduler = space.search.scheduler
    takes = SCHEDULERS[scheduler.name].options
    if "grace" not in takes:
        return space
    if space.epochs == 1:  # without rungs
        return space
    usual = defaults(space.epochs, aligned)._asdict()
    rungs = {key: getattr(scheduler, key) or usual[key] for key in usual if key in takes}
    scheduler = scheduler.model_copy(update=rungs)
    return replace(space, search=space.search.model_copy(update={"scheduler": scheduler}))


def _minutes(recordings: list[Recording]) -> str:
    return f"{sum(r.samples for r in recordings) / SAMPLE_RATE / 60:.0f} minutes"
