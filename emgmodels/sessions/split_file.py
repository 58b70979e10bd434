"""The split file: emg2qwerty's YAML of which session of which user trains, validates and tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from emgmodels.config import Frozen, explain, read_yaml
from emgmodels.sessions.finding import same_spelling

SUBSETS = ("train", "val", "test")


def _check_name(session: str) -> str:
    if session in ("", "..") or set(session) & set("/\\\0"):
        raise ValueError("a session is a file name without folder, ending and '..'")
    return session


def _none_as_empty(value: Any) -> Any:
    # The file is read as text, in which null is a word.
    return [] if value in (None, "null", "~") else value


class Entry(Frozen):
    """A session of a split file, and whose it is."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    user: str
    session: Annotated[str, AfterValidator(_check_name)]


class _Subsets(Frozen):
    train: list[Entry]
    val: list[Entry]
    test: Annotated[list[Entry], BeforeValidator(_none_as_empty)] = Field(default=[])


class SplitFile(Frozen):
    """What a split file says."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    user: str | None = None  # a name for the split, such as single_user or generic; none of old
    dataset: _Subsets


def read_split_file(path: Path) -> SplitFile:
    """Return what a split file says.

    Raises:
        ValueError: it cannot be read, or is of another form.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"), f"{path}: split file", as_text=True)
    except OSError as error:
        raise ValueError(f"{path}: split file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: split file is not a text file: {error}") from None
    try:
        return SplitFile.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, str(path), SplitFile))) from None


def check_roles(path: Path, entries: Mapping[str, Sequence[Entry]]) -> None:
    """Refuse a split in which a user who is held out trains as well, or has two roles.

    Raises:
        ValueError: as said.
    """
    users = {role: {same_spelling(entry.user) for entry in entries[role]} for role in SUBSETS}
    for role in ("val", "test"):
        known, new = users[role] & users["train"], users[role] - users["train"]
        if known and new:
            raise ValueError(
                f"{path}: dataset.{role} holds out users ({', '.join(sorted(new))}), and has "
                f"{', '.join(sorted(known))} too, whose sessions are in dataset.train: take these "
                f"users out of one of the two"
            )
    if both := users["val"] & users["test"] - users["train"]:
        raise ValueError(
            f"{path}: dataset.val and dataset.test both have {', '.join(sorted(both))}, who do not "
            f"train: a user who is held out has one role: take these users out of one of the two"
        )


def check_once(path: Path, listed: Sequence[Entry]) -> None:
    """Refuse a split that names a session twice."""
    counts = Counter((same_spelling(entry.user), same_spelling(entry.session)) for entry in listed)
    twice = [name for (_, name), times in counts.items() if times > 1]
    if twice:
        raise ValueError(f"{path}: a session may stand in one subset, once: {', '.join(twice)}")
