"""The sessions that a search trains and validates on: chosen, written if need be, opened."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import Progress as Bars

from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted, is_of_people, whose
from emgmodels.sessions import SessionInfo, Split, apart, find_split, split_files
from emgmodels.sessions.session import ON_KEYBOARD
from emgmodels.windows.cache import Opener, open_split, prepare
from emgmodels.windows.looking import look, no_emg
from emgmodels.windows.recording import (
    Recording,
    key_corrections,
    lag_notes,
    left_out,
    users_in,
)
from emgmodels.windows.users import users_of_windows
from search.engine.trial import TrialData
from search.report.display.words import say
from search.results.demo_sessions import folder_of, is_typists, paths_of, typist_folder
from search.results.session_files import SETS, check_recordings, session_files
from search.space import Space, TypistConfig
from search.storage import SessionStore, is_uri, local_file, local_path

_KEYS_A_SECOND = 4
"""Of sessions that are not written yet; about what the synthetic typist does."""


@dataclass(frozen=True)
class Opened:
    """The sessions of a search, all found good.

    Attributes:
        data: what trials train on.
        train: training recordings that have a window.
        val: validation recordings that have a window.
    """

    data: TrialData
    train: list[Recording]
    val: list[Recording]

    @property
    def users(self) -> list[str]:
        """The user of each validation window, in order."""
        return users_of_windows(self.val)

    def is_aligned(self, space: Space) -> bool:
        """Return whether trainings can start aligned: most training sessions have right key times.

        Args:
            space: what is searched, which says whether key times are corrected.
        """
        setting: float | Literal["auto"] = "auto" if _estimates_lags(space) else 0.0
        return 2 * key_corrections(self.train, setting).count(None) <= len(self.train)


def choose_sessions(
    space: Space,
    data: str | Path | SessionStore | None,
    subject: str | None,
    split: str | Path | None,
    writes: bool = True,
) -> Split:
    """Return which sessions to train, validate and test on; without data, a synthetic typist's.

    Of those in an object store the sessions to train and validate on are fetched, and no others. A
    split file that is given goes before the space's people.

    Args:
        space: what is searched.
        data: folder with session files, or an object store.
        subject: whose sessions.
        split: emg2qwerty's split file.
        writes: write the synthetic typist's sessions where they are missing; otherwise they are
            named as they would be.

    Raises:
        ValueError: the sessions, the subject or the split file are not to be had.
    """
    seed, people = space.search.seed, space.data.people if split is None else None
    if isinstance(data, SessionStore):
        found = split_files(
            data.paths(), data.place.uri, subject, split, seed, data.info_of, people
        )
        data.fetch([*found.train, *found.val])
        return apart(found, ("train", "val"))
    if data is not None:
        split = None if split is None else local_path(split)
        return find_split(local_path(data), subject, split, seed, people)
    if subject is not None or split is not None:
        raise ValueError("--subject and --split choose from session files: give --data DIR too")
    typist = space.typist or TypistConfig()
    if people is not None and typist.users < 2:
        raise ValueError(
            f"--people {people} holds out whole users, and without --data there is one, "
            f"{typist.subject}: give --data DIR, or --set typist.users=12"
        )
    if people is None and typist.users > 1:
        raise ValueError(
            f"typist.users {typist.users}: say whom to hold out, such as --people val=2,test=2"
        )
    if writes or folder_of(typist).is_dir():
        return find_split(typist_folder(typist), seed=typist.seed, people=people)
    paths = paths_of(typist)
    told = functools.partial(_unwritten, typist)
    return split_files(paths, "", seed=typist.seed, info_of=told, people=people)


def open_sessions(split: Split, space: Space, console: Console, opener: Opener = prepare) -> Opened:
    """Return the sessions of a split, and tell what a user should know of them."""
    paths = [*split.train, *split.val]
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("Preparing sessions", total=len(paths))
        train, val, notes = open_split(split, lambda _: bars.advance(task), opener)
    say(
        console,
        f"Data: {_minutes(train)} of training in {counted(len(train), 'session')}"
        f"{_of_users(split, train)}, {_minutes(val)} of validation in {len(val)}"
        f"{_of_users(split, val)}, {whose(split.subject)}; sessions kept for testing and not "
        f"touched: {len(split.test)}. Split: {split.origin}. They lie in "
        f"{os.path.commonpath([os.path.abspath(path.parent) for path in paths])}.",
    )
    prompted = [sum(not recording.has_key_times for recording in each) for each in (train, val)]
    if prompted[0] and any(_starts(space.training.plain())):
        notes.append("an aligned start needs key times: prompts wait until the model reads them")
    if _estimates_lags(space):
        notes += lag_notes(train)
    for note in notes:
        say(console, f"note: {note}")
    data = TrialData(
        train=tuple(map(os.path.abspath, split.train)),
        val=tuple(map(os.path.abspath, split.val)),
        prompted=(prompted[0], prompted[1]),
    )
    return Opened(data, train, val)


def _of_users(split: Split, recordings: Sequence[Recording]) -> str:
    """Return whose sessions they are where a split is of several users."""
    return f" of {users_in(recordings)}" if is_of_people(split.subject) else ""


def open_again(data: TrialData, opener: Opener = prepare) -> Opened:
    """Return the sessions of an earlier search, opened where they lie now."""
    train, val = (
        [each for each in opener([local_file(path) for path in paths], None) if not left_out(each)]
        for paths in (data.train, data.val)
    )
    return Opened(data, train, val)


def opener_of(space: Space, writes: bool) -> Opener:
    """Return what opens a search's sessions.

    Args:
        space: what is searched.
        writes: convert sessions into the cache; otherwise look at them only, and take those that a
            synthetic typist has not written yet for as long as they will be.
    """
    typist = space.typist or TypistConfig()

    def look_at(paths: Sequence[Path], progress: Callable[[Path], None] | None) -> list[Recording]:
        folder = folder_of(typist)
        if any(path.parent != folder or path.exists() for path in paths):
            return look(paths, progress)
        return [_made_up(path.stem, typist.minutes) for path in paths]

    return prepare if writes else look_at


def sessions_again(
    run: Path,
    facts: Mapping[str, Any],
    data: str | Path | None,
    space: Space,
    writes: bool = True,
) -> tuple[TrialData, dict[str, Any]]:
    """Return what the trials of an earlier search train on, and its split, as they lie now.

    A synthetic typist's sessions are written anew where they are missing.

    Args:
        run: the run folder.
        facts: what its ``environment.json`` says.
        data: folder that holds the sessions now, or its URI; None: where they were.
        space: what it searches.
        writes: as for ``choose_sessions``.

    Raises:
        ValueError: sessions are missing.
    """
    split = dict(facts.get("split", {}))
    typist = space.typist or TypistConfig()
    if data is None and is_typists(facts, typist):
        if not writes and not folder_of(typist).is_dir():
            own = {each: _renamed(split[each], folder_of(typist)) for each in SETS}
            return TrialData(own["train"], own["val"]), {**split, **own}
        data = typist_folder(typist)
    for subset in ("train", "val"):
        split[subset] = session_files(run, facts, subset, data)
        if any(map(is_uri, split[subset])):
            check_recordings(facts, subset, [local_file(path) for path in split[subset]])
    with contextlib.suppress(ValueError):  # they are needed when the search is over
        split["test"] = session_files(run, facts, "test", data)
    return TrialData(train=split["train"], val=split["val"]), split


def _estimates_lags(space: Space) -> bool:
    """Return whether some training of a space corrects key times by each session's estimate."""
    settings = [start.get("key_lag_ms", "auto") for start in _starts(space.training.plain())]
    return any("auto" in _options(setting) for setting in settings)


def _starts(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the aligned starts that trainings of a space have."""
    for option in _options(training):
        yield from filter(None, _options(option.get("aligned_start")))


def _options(value: Any) -> list[Any]:
    """Return what a key can be: the options of a choice, or the value alone."""
    if not (isinstance(value, dict) and "choice" in value):
        return [value]
    return [each for option in value["choice"] for each in _options(option)]


def _renamed(paths: Sequence[str], folder: Path) -> tuple[str, ...]:
    return tuple(str(folder / Path(path).name) for path in paths)


def _unwritten(typist: TypistConfig, path: Path) -> SessionInfo:
    """Return what a session says of itself that the typist has yet to write."""
    seconds = 60 * typist.minutes
    return SessionInfo(
        name=path.stem,
        user=path.stem.rpartition("-")[0],
        condition=ON_KEYBOARD,
        start=0.0,
        duration=seconds,
        samples=round(seconds * SAMPLE_RATE),
        keys=round(seconds * _KEYS_A_SECOND),
        prompts=0,
    )


def _made_up(name: str, minutes: float) -> Recording:
    """Return a recording as long as a typist's, with keys at an even rate."""
    samples = round(60 * minutes * SAMPLE_RATE)
    at = np.arange(SAMPLE_RATE // 10, samples, SAMPLE_RATE // _KEYS_A_SECOND)
    labels = np.arange(len(at)) % 26
    user = name.rpartition("-")[0]
    return Recording(name, no_emg(samples), labels, at, at, has_key_times=True, user=user)


def _minutes(recordings: list[Recording]) -> str:
    seconds = sum(recording.samples for recording in recordings) / SAMPLE_RATE
    if seconds < 60:
        return counted(round(seconds), "second")
    return counted(round(seconds / 60), "minute")
