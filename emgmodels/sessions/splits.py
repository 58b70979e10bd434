"""Which sessions of a folder are for training, validation and test.

A split is always by session: neighbouring windows of one session resemble each other too much for
one to be an honest test of the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from emgmodels.config import explain, read_yaml
from emgmodels.sessions.files import read_info

SUFFIX = ".hdf5"
SUBSETS = ("train", "val", "test")
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
    """

    subject: str
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]
    origin: str = ""


def find_split(
    data: str | Path,
    subject: str | None = None,
    split_file: str | Path | None = None,
    seed: int = 0,
) -> Split:
    """Choose the sessions for training, validation and test.

    Args:
        data: Folder with session files, up to two levels of subfolders deep.
        subject: Whose sessions; may be left out where the folder (or split file) has one subject.
        split_file: emg2qwerty's YAML (``user``, ``dataset: {train|val|test: [{user, session}]}``).
            Without one, subject 89335547 has the published split; any other is split by session
            names and seed, a tenth of the sessions (at least one) each for validation and test. Two
            sessions are for training and validation. Where the subject is not asked for by name
            and the published split lacks sessions, it is split as any other; ``origin`` says so.
        seed: Seed of that choice.

    Raises:
        ValueError: the folder or the split file is missing or wrong, a session is missing, or the
            subject is unknown or has too few sessions; the message names all of them.
    """
    return split_files(find_session_files(data), str(data), subject, split_file, seed)


def split_files(
    files: Mapping[str, Path],
    data: str,
    subject: str | None = None,
    split_file: str | Path | None = None,
    seed: int = 0,
    user_of: Callable[[Path], str] = lambda path: read_info(path).user,
) -> Split:
    """Choose as ``find_split`` does among session files that were found already.

    Args:
        files: Session files by name.
        data: Where they are, for messages.
        subject: As there.
        split_file: As there.
        seed: As there.
        user_of: Whose session a file is; asked where neither a split file nor a published split
            tells.

    Raises:
        ValueError: As there.
    """
    if split_file is None and subject is not None:
        split_file = _published(subject)
    if split_file is not None:
        return _listed(Path(split_file), data, files, subject)
    files_of = _by_subject(files, user_of)
    chosen = _choose_subject(data, subject, files_of)
    published = _published(chosen)
    if published is None:
        return _drawn(data, chosen, files_of[chosen], seed)
    lacking = sum(name not in files for name in _sessions(published))
    if not lacking:
        return _listed(published, data, files, chosen)
    drawn = _drawn(data, chosen, files_of[chosen], seed)
    note = f"{drawn.origin}, since {lacking} sessions of the published split are not there"
    return replace(drawn, origin=note)


def find_session_files(data: str | Path) -> dict[str, Path]:
    """Return the session files of a folder and two levels of subfolders, by session name, sorted.

    Raises:
        ValueError: there are none, or two have the same name.
    """
    data = Path(data)
    if not data.is_dir():
        found = "is a file" if data.exists() else "does not exist"
        raise ValueError(f"{data}: {found}: expected a folder with session files (*{SUFFIX})")
    levels = ("*", "*/*", "*/*/*")
    return by_name((path for level in levels for path in data.glob(level + SUFFIX)), str(data))


def by_name(paths: Iterable[Path], data: str) -> dict[str, Path]:
    """Return session files by session name, sorted.

    Args:
        paths: What was found; hidden files are left out.
        data: Where, for messages.

    Raises:
        ValueError: There are none, or two have the same name.
    """
    files: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if path.name.startswith("."):
            continue
        if path.stem in files:
            raise ValueError(
                f"{data}: session {path.stem} is there twice: {files[path.stem]} and {path}"
            )
        files[path.stem] = path
    if not files:
        raise ValueError(
            f"{data}: no session files: looked for *{SUFFIX} there and in two levels of subfolders"
        )
    return dict(sorted(files.items()))


def _check_name(session: str) -> str:
    if not session or ".." in session or set(session) & set("/\\\0"):
        raise ValueError("a session is a file name without folder, ending and '..'")
    return session


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    user: str
    session: Annotated[str, AfterValidator(_check_name)]


class _Subsets(BaseModel):
    model_config = ConfigDict(extra="forbid")
    train: list[_Entry]
    val: list[_Entry]
    test: list[_Entry] = []


class _SplitFile(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    user: str
    dataset: _Subsets


def _read_split_file(path: Path) -> _SplitFile:
    try:
        values = read_yaml(path.read_text(encoding="utf-8"), f"{path}: split file", as_text=True)
    except OSError as error:
        raise ValueError(f"{path}: split file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: split file is not a text file: {error}") from None
    if isinstance(values, dict) and "dataset" in values and values.get("user") is None:
        raise ValueError(f"{path}: user: is missing at the top: {_user_to_write(values)}")
    try:
        return _SplitFile.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, str(path)))) from None


def _user_to_write(values: dict[str, Any]) -> str:
    """Return which line a split file without ``user`` lacks."""
    subsets = values["dataset"].values() if isinstance(values["dataset"], dict) else ()
    entries = [entry for subset in subsets if isinstance(subset, list) for entry in subset]
    users = {str(entry["user"]) for entry in entries if isinstance(entry, dict) and "user" in entry}
    if len(users) == 1:
        return f"write 'user: {users.pop()}' above dataset, as its sessions say"
    return (
        "write 'user: NAME' above dataset, whose sessions they are, or 'user: generic' of several"
    )


def _listed(path: Path, data: str, files: Mapping[str, Path], subject: str | None) -> Split:
    """Return the split that a file lists, of one subject where one is named."""
    content = _read_split_file(path)
    names: dict[str, list[str]] = {}
    for subset in SUBSETS:
        entries: list[_Entry] = getattr(content.dataset, subset)
        names[subset] = [
            entry.session for entry in entries if subject in (None, content.user, entry.user)
        ]
    listed = [name for subset in SUBSETS for name in names[subset]]
    for subset in ("train", "val"):
        if not names[subset]:
            whose = f" of subject {subject}" if subject is not None else ""
            raise ValueError(f"{path}: dataset.{subset} has no session{whose}: it needs at least 1")
    twice = [name for name, times in Counter(listed).items() if times > 1]
    if twice:
        raise ValueError(f"{path}: a session may stand in one subset, once: {', '.join(twice)}")
    missing = [name for name in listed if name not in files]
    if missing:
        raise ValueError(
            f"{data}: {len(missing)} of the {len(listed)} sessions in {path} are missing:\n"
            + "\n".join(f"  {name}{SUFFIX}" for name in missing)
        )
    train, val, test = (tuple(files[name] for name in names[subset]) for subset in SUBSETS)
    return Split(subject or content.user, train, val, test, origin=str(path))


def _published(subject: str) -> Path | None:
    """Return the packaged split file of a subject, if there is one."""
    return next((path for path in _PUBLISHED.glob("*.yaml") if path.stem == subject), None)


def _sessions(split_file: Path) -> list[str]:
    dataset = _read_split_file(split_file).dataset
    return [entry.session for entry in (*dataset.train, *dataset.val, *dataset.test)]


def _by_subject(
    files: Mapping[str, Path], user_of: Callable[[Path], str]
) -> dict[str, dict[str, Path]]:
    subjects: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        subjects.setdefault(user_of(path), {})[name] = path
    return subjects


def _choose_subject(data: str, subject: str | None, files_of: dict[str, dict[str, Path]]) -> str:
    if subject is None and len(files_of) == 1:
        return next(iter(files_of))
    if subject in files_of:
        return subject
    problem = "which subject?" if subject is None else f"subject {subject} has no sessions:"
    counts = "\n".join(f"  {name}: {len(paths)} sessions" for name, paths in files_of.items())
    raise ValueError(f"{data}: {problem} choose with --subject one of\n{counts}")


def _drawn(data: str, subject: str, files: dict[str, Path], seed: int) -> Split:
    """Return a split that names and seed decide; a session added later moves few others."""
    if len(files) < 2:
        raise ValueError(
            f"{data}: subject {subject} has {len(files)} session: training and validation need one "
            f"each, a test a third; or split the recording into several session files"
        )
    held_out = max(1, round(len(files) / 10))
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
