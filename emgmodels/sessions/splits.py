"""Which sessions of a folder are for training, validation and test.

A split is always by session: neighbouring windows of one session resemble each other too much for
one to be an honest test of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emgmodels.config import write_yaml
from emgmodels.paths import several
from emgmodels.saying import counted
from emgmodels.sessions.files import read_info, signal_digest
from emgmodels.sessions.finding import SUFFIX, by_name, same_spelling, session_paths
from emgmodels.sessions.people import People, draw_people
from emgmodels.sessions.session import SessionInfo
from emgmodels.sessions.split_file import SUBSETS, Entry, check_once, check_roles, read_split_file

_PUBLISHED = Path(__file__).parents[1] / "splits"


@dataclass(frozen=True)
class Split:
    """The session files of each subset.

    Attributes:
        subject: Whose sessions they are, or the name a split file gives to several subjects.
        train: Sessions to learn from.
        val: Sessions that rank models.
        test: Sessions looked at last; may be empty.
        origin: Where the split comes from, to be said to the user.
        notes: What the user should know of its sessions.
    """

    subject: str
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]
    origin: str = ""
    notes: tuple[str, ...] = ()


def find_split(
    data: str | Path,
    subject: str | None = None,
    split_file: str | Path | None = None,
    seed: int = 0,
    people: People | None = None,
) -> Split:
    """Choose the sessions for training, validation and test.

    Args:
        data: Folder with session files, in subfolders too.
        subject: Whose sessions; may be left out where the folder (or split file) has one subject.
        split_file: emg2qwerty's YAML (``user``, ``dataset: {train|val|test: [{user, session}]}``).
            Without one, subject 89335547 has the published split; any other is split by session
            names and seed, a tenth of the sessions (at least one) each for validation and test. Two
            sessions are for training and validation. Where the subject is not asked for by name
            and the published split lacks sessions, it is split as any other; ``origin`` says so.
        seed: Seed of that choice.
        people: Hold out whole users, in place of a subject or a split file.

    Raises:
        ValueError: the folder or the split file is missing or wrong, a session is missing or of
            another subject, the subject is unknown or has too few sessions, or the same recording
            is in two subsets; the message names all of them. Or users that are held out are
            unknown, too many, or train as well.
    """
    paths = session_paths(data)
    return apart(split_files(paths, str(data), subject, split_file, seed, people=people))


def split_files(
    paths: str | Path | Sequence[str | Path],
    data: str,
    subject: str | None = None,
    split_file: str | Path | None = None,
    seed: int = 0,
    info_of: Callable[[Path], SessionInfo] = read_info,
    people: People | None = None,
) -> Split:
    """Choose as ``find_split`` does among session files that were found already.

    Args:
        paths: Session files.
        data: Where they are, for messages.
        subject: As there.
        split_file: As there.
        seed: As there.
        info_of: What a session file says of itself.
        people: As there.

    Raises:
        ValueError: As there, except that the recordings are not compared: see ``apart``.
    """
    files = [Path(path) for path in several(paths)]
    subject = None if subject is None else same_spelling(subject)
    if people is not None:
        return _of_people(files, data, people, subject, split_file, seed, info_of)
    if split_file is None and subject is not None:
        # Asked for by name: then the published split, or an error that says which sessions it
        # lacks.
        split_file = _published(subject)
    if split_file is not None:
        return _listed(Path(split_file), data, files, subject, info_of)
    files_of = _by_subject(files, info_of)
    chosen = _choose_subject(data, subject, files_of)
    own = files_of[chosen]
    published = _published(chosen)
    if published is None:
        return _drawn(data, chosen, by_name(own, data), seed)
    names = {same_spelling(path.stem) for path in own}
    lacking = sum(name not in names for name in _sessions(published))
    # Not asked for by name: a part of the published sessions is no reason to refuse the data.
    if not lacking:
        return _listed(published, data, own, chosen, info_of)
    drawn = _drawn(data, chosen, by_name(own, data), seed)
    of_it = [f"session{several} of the published split" for several in ("", "s")]
    gone = counted(lacking, f"{of_it[0]} is", f"{of_it[1]} are")
    return replace(drawn, origin=f"{drawn.origin}, since {gone} not there")


def apart(split: Split, subsets: str | Sequence[str] = SUBSETS) -> Split:
    """Return the split if no recording is in two subsets; a note says which is twice in one.

    Recordings are compared by their EMG: a copy may have another name, and other attributes.

    Args:
        split: The split.
        subsets: Those whose files are on this machine.

    Raises:
        ValueError: A recording is in two subsets, or a file is not a session.
    """
    where: dict[str, tuple[str, Path]] = {}
    shared, notes = [], []
    for subset in several(subsets):
        for path in getattr(split, subset):
            digest = signal_digest(path)
            if digest not in where:
                where[digest] = (subset, path)
                continue
            earlier, first = where[digest]
            if earlier == subset:
                notes.append(f"{first} and {path} are the same recording: it counts twice")
            else:
                shared.append(f"  {first} ({earlier}) and {path} ({subset})")
    if shared:
        raise ValueError(
            "the same recording is in two subsets, so that a model would be tested on what it "
            "learnt:\n" + "\n".join(shared) + "\nremove one file of each pair, or put both in "
            "one subset by a split file"
        )
    return replace(split, notes=(*split.notes, *notes))


def split_text(split: Split, info_of: Callable[[Path], SessionInfo] = read_info) -> str:
    """Return a split as emg2qwerty writes it: the text of a file that ``find_split`` takes.

    Args:
        split: The split.
        info_of: What a session file says of itself; one without a user is given the split's.

    Raises:
        ValueError: A file is not a session.
    """

    def entries(paths: Sequence[Path]) -> list[dict[str, str]]:
        users = (_known_user(info_of(path)) or split.subject for path in paths)
        return [
            {"user": user, "session": path.stem} for user, path in zip(users, paths, strict=True)
        ]

    dataset = {subset: entries(getattr(split, subset)) for subset in SUBSETS}
    return write_yaml({"user": split.subject, "dataset": dataset})


def _listed(
    path: Path,
    data: str,
    paths: Sequence[Path],
    subject: str | None,
    info_of: Callable[[Path], SessionInfo],
) -> Split:
    """Return the split that a file lists, of one subject where one is named."""
    content = read_split_file(path)
    whose = None if content.user is None else same_spelling(content.user)
    entries: dict[str, list[Entry]] = {
        subset: [
            entry
            for entry in getattr(content.dataset, subset)
            if subject is None or subject in (whose, same_spelling(entry.user))
        ]
        for subset in SUBSETS
    }
    for subset in ("train", "val"):
        if not entries[subset]:
            of = f" of subject {subject}" if subject is not None else ""
            raise ValueError(f"{path}: dataset.{subset} has no session{of}: it needs at least 1")
    listed = [entry for subset in SUBSETS for entry in entries[subset]]
    check_once(path, listed)
    check_roles(path, entries)
    found = _located(path, data, paths, listed, info_of)
    places = iter(found)
    train, val, test = (tuple(next(places) for _ in entries[subset]) for subset in SUBSETS)
    users = {same_spelling(entry.user) for entry in listed}
    typist = users.pop() if len(users) == 1 else whose or "several"
    return Split(typist, train, val, test, origin=str(path))


def _of_people(
    files: Sequence[Path],
    data: str,
    people: People,
    subject: str | None,
    split_file: str | Path | None,
    seed: int,
    info_of: Callable[[Path], SessionInfo],
) -> Split:
    """Return a split that holds out whole users."""
    given = [f"--subject {subject}"] * (subject is not None)
    given += [f"--split {split_file}"] * (split_file is not None)
    if given:
        raise ValueError(
            f"{data}: people are held out ({people}), which divides all users, and "
            f"{' and '.join(given)} says otherwise: leave that out, or --people, or set a space's "
            f"data.people to null"
        )
    infos = {path: info_of(path) for path in files}
    files_of = _by_subject(files, infos.__getitem__)
    subsets = draw_people(data, people, files_of, seed, infos.__getitem__)
    train, val, test = (tuple(subsets[subset]) for subset in SUBSETS)
    synthetic = all(user.startswith("synthetic") for user in files_of)
    return Split(
        f"{len(files_of)} {'synthetic ' if synthetic else ''}people",
        train,
        val,
        test,
        origin=f"people held out ({people}), drawn with seed {seed}",
    )


def _located(
    path: Path,
    data: str,
    paths: Sequence[Path],
    listed: Sequence[Entry],
    info_of: Callable[[Path], SessionInfo],
) -> list[Path]:
    """Return the file of each session that a split file lists; none is another user's."""
    named: dict[str, list[Path]] = {}
    for place in paths:
        named.setdefault(same_spelling(place.stem), []).append(place)
    missing = [entry.session for entry in listed if same_spelling(entry.session) not in named]
    if missing:
        raise ValueError(
            f"{data}: {len(missing)} of the {counted(len(listed), 'session')} in {path} are "
            f"missing:\n"
            + "\n".join(f"  {name.removesuffix(SUFFIX)}{SUFFIX}" for name in missing)
            + ("\na split file names sessions without .hdf5" * missing[0].endswith(SUFFIX))
        )
    found, strangers = [], []
    for entry in listed:
        places = named[same_spelling(entry.session)]
        users = {place: _user(info_of(place)) for place in places}
        named_so = [place for place in places if users[place] == same_spelling(entry.user)]
        own = named_so or [place for place in places if users[place] is None]
        if own:
            (only,) = by_name(own, data).values()
            found.append(only)
        else:
            strangers.append(
                f"  {entry.session}: user {entry.user} in the split file, "
                f"user {users[places[0]]} in {places[0]}"
            )
    if strangers:
        raise ValueError(
            f"{path}: the files of {counted(len(strangers), 'session')} name another user; mend "
            f"the split file, or the attribute 'user' of the files:\n" + "\n".join(strangers)
        )
    return found


def _user(info: SessionInfo) -> str | None:
    """Return the user that a session file names; None where it names none."""
    known = _known_user(info)
    return None if known is None else same_spelling(known)


def _known_user(info: SessionInfo) -> str | None:
    return info.user if info.is_user_known else None


def _published(subject: str) -> Path | None:
    """Return the packaged split file of a subject, if there is one."""
    return next((path for path in _PUBLISHED.glob("*.yaml") if path.stem == subject), None)


def _sessions(split_file: Path) -> list[str]:
    dataset = read_split_file(split_file).dataset
    return [entry.session for entry in (*dataset.train, *dataset.val, *dataset.test)]


def _by_subject(
    paths: Sequence[Path], info_of: Callable[[Path], SessionInfo]
) -> dict[str, list[Path]]:
    subjects: dict[str, list[Path]] = {}
    for path in paths:
        subjects.setdefault(same_spelling(info_of(path).user), []).append(path)
    return subjects


def _choose_subject(data: str, subject: str | None, files_of: dict[str, list[Path]]) -> str:
    if subject is None and len(files_of) == 1:
        return next(iter(files_of))
    if subject in files_of:
        return subject
    problem = "which subject?" if subject is None else f"subject {subject} has no sessions:"
    counts = "\n".join(
        f"  {name}: {counted(len(paths), 'session')}" for name, paths in files_of.items()
    )
    choose = "choose with --subject one of these, or hold some out with --people"
    raise ValueError(f"{data}: {problem} {choose}:\n{counts}")


def _drawn(data: str, subject: str, files: dict[str, Path], seed: int) -> Split:
    """Return a split that names and seed decide; a session added later moves few others."""
    if len(files) < 2:
        raise ValueError(
            f"{data}: subject {subject} has {len(files)} session: training and validation need one "
            f"each, a test a third; or split the recording into several session files"
        )
    held_out = max(1, round(len(files) / 10))
    # By a hash of the name: a session that is added later does not move the others to other
    # subsets.
    drawn = sorted(files, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    val = drawn[:held_out]
    test = drawn[held_out : 2 * held_out] if len(files) > 2 else []
    train = [name for name in files if name not in {*val, *test}]
    return Split(
        subject,
        train=tuple(files[name] for name in train),
        val=tuple(files[name] for name in sorted(val)),
        test=tuple(files[name] for name in sorted(test)),
        origin=f"drawn by session with seed {seed}",
    )
