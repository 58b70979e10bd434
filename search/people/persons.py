"""The people that a model is tried on, and how the sessions of each are divided."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted
from emgmodels.sessions import apart, read_info, session_paths, split_files
from emgmodels.sessions.finding import same_spelling
from emgmodels.sessions.split_file import Entry, read_split_file
from emgmodels.sessions.splits import Split
from search.results.facts import PERSON_SESSIONS, SPLIT


@dataclass(frozen=True)
class Person:
    """One person, and which sessions are for what.

    Attributes:
        user: as the session files name them.
        train: to learn from, in order.
        val: to choose the epoch by.
        test: that all models are compared on.
    """

    user: str
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]

    def seconds(self, part: str) -> float:
        """Return how long the sessions of a set are: ``train``, ``val`` or ``test``."""
        return sum(read_info(path).samples for path in getattr(self, part)) / SAMPLE_RATE

    @property
    def test_names(self) -> str:
        """Names of the test sessions, with commas."""
        return ",".join(path.stem for path in self.test)

    def names(self) -> dict[str, list[str]]:
        """Return the names of the sessions of each set, to see whether they are as before."""
        return {part: [path.stem for path in getattr(self, part)] for part in _PARTS}


_PARTS = ("train", "val", "test")


def parse_users(text: str | None) -> tuple[str, ...]:
    """Return the names in a list with commas, each once."""
    names = [name.strip() for name in (text or "").split(",")]
    if text is not None and not all(names):
        raise ValueError(f"--users {text}: expected names with commas between them: anna,ben")
    return tuple(dict.fromkeys(map(same_spelling, filter(None, names))))


def parse_minutes(text: str) -> tuple[float, ...]:
    """Return the minutes in a list with commas, the least first."""
    try:
        found = {float(part) for part in text.split(",") if part.strip()}
    except ValueError:
        found = {math.nan}
    if not all(0 < minutes < math.inf for minutes in found):
        raise ValueError(f"--minutes {text}: expected numbers above 0, with commas: 2,5,10")
    return tuple(sorted(found))


def find_people(
    data: Path, run: Path, facts: Mapping[str, Any], users: Sequence[str], seed: int
) -> list[Person]:
    """Return the people to try a search's winner on.

    A person's sessions that are test sessions of the search stay that, if there are others to learn
    from; else they are divided as a folder without a split file is.

    Args:
        data: folder with session files.
        run: the run folder.
        facts: what its ``environment.json`` says.
        users: whose; empty: those with test sessions and none to train or validate on.
        seed: of the division.

    Raises:
        ValueError: somebody is unknown, has too few sessions, or was trained on.
    """
    of_user: dict[str, list[Path]] = {}
    for path in session_paths(data):
        of_user.setdefault(same_spelling(read_info(path).user), []).append(path)
    parts = _sessions(run, facts, of_user)
    known = {user for user, _ in parts["train"] | parts["val"]} & of_user.keys()
    tested = [user for user in of_user if user in {whose for whose, _ in parts["test"]}]
    chosen = list(users) or sorted(user for user in tested if user not in known)
    strangers = sorted(set(of_user) - known)
    if not chosen:
        raise ValueError(
            f"{run}: its split holds nobody out for testing: name people with --users U,V "
            f"({data} has others than it was trained on: {', '.join(strangers) or 'none'})"
        )
    if missing := [user for user in chosen if user not in of_user]:
        raise ValueError(
            f"--users {missing[0]}: {data} has no session of that user: it has "
            f"{', '.join(sorted(of_user))}"
        )
    if seen := [user for user in chosen if user in known]:
        raise ValueError(
            f"--users {seen[0]}: {run} was trained or validated on sessions of that user, so it is "
            f"no stranger: name some of {', '.join(strangers) or 'other people, of whom are none'}"
        )
    test = {user: {name for whose, name in parts["test"] if whose == user} for user in chosen}
    return [_person(user, of_user[user], test[user], str(data), seed) for user in chosen]


def _sessions(
    run: Path, facts: Mapping[str, Any], of_user: Mapping[str, Sequence[Path]]
) -> dict[str, set[tuple[str, str]]]:
    """Return user and name of each session of a search's split, by set.

    Names alone do not tell sessions apart: each user may have one named ``monday``.
    """
    path, files = run / SPLIT, facts.get("split", {})
    written = read_split_file(path).dataset if path.is_file() else None
    there = [(each, user) for user, paths in of_user.items() for each in paths]
    found: dict[str, set[tuple[str, str]]] = {}
    for part in _PARTS:
        entries = getattr(written, part, ())
        found[part] = {
            (user, _name(file))
            for file, entry in itertools.zip_longest(files.get(part, ()), entries)
            if file is not None
            for user in _users_of(file, entry, there)
        }
    return found


def _users_of(file: str, entry: Entry | None, there: Sequence[tuple[Path, str]]) -> Collection[str]:
    """Return whose a session of a search may be, from the surest sign to the weakest.

    Args:
        file: where it was.
        entry: what the split's file says in its place.
        there: all session files of today, and whose each is.
    """
    alike = [(path, user) for path, user in there if _name(path) == _name(file)]
    if same := [user for path, user in alike if os.path.abspath(path) == os.path.abspath(file)]:
        return same
    if entry is not None and same_spelling(entry.session) == _name(file):
        return [same_spelling(entry.user)]
    if Path(file).is_file():
        return [same_spelling(read_info(file).user)]
    # Of people, each has a folder, and the folders may have been moved together.
    folder = same_spelling(PurePosixPath(file).parent.name)
    beside = [user for path, user in alike if same_spelling(path.parent.name) == folder]
    return beside or [user for _, user in alike]


def _person(
    user: str, paths: Sequence[Path], tested: Collection[str], data: str, seed: int
) -> Person:
    if len(paths) < PERSON_SESSIONS:
        raise ValueError(
            f"{data}: user {user} has {counted(len(paths), 'session')}, and {PERSON_SESSIONS} are "
            f"needed: to learn from, to choose the epoch by, and to test on. Record more, or name "
            f"others: --users anna,ben, of --data DIR"
        )
    test = [path for path in paths if _name(path) in tested]
    own = [path for path in paths if _name(path) not in tested]
    if test and len(own) >= PERSON_SESSIONS - 1:
        held = max(1, len(own) // 10)
        split = Split(user, tuple(own[:-held]), tuple(own[-held:]), tuple(test))
    else:
        split = split_files(paths, data, user, None, seed)
    found = apart(split)
    ordered = sorted(found.train, key=lambda path: (read_info(path).start, path.stem))
    return Person(user, tuple(ordered), found.val, found.test)


def _name(path: str | Path) -> str:
    return same_spelling(Path(path).stem)
