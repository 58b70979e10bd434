"""Splits of people: whole users are held out for validation and for test, all others train."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from emgmodels.config import Frozen, explain
from emgmodels.saying import counted
from emgmodels.sessions.finding import by_name, same_spelling
from emgmodels.sessions.session import ON_KEYBOARD, SessionInfo

_EXAMPLE = "--people val=2,test=2, val=0.1,test=0.1 or val=anna,test=bob,carl"


def _who(value: Any) -> Any:
    """Return a number or fraction of users, or their names as a tuple."""
    if isinstance(value, str):
        # An id such as 89335547 is a number too; which it is, the users decide.
        is_number = re.fullmatch(r"-?\d*\.?\d+", value)
        return _who(float(value)) if is_number else (same_spelling(value),)
    if isinstance(value, list | tuple):
        names = tuple(same_spelling(str(name)) for name in value)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names {', '.join(twice)} twice")
        return names
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < 2**53 and value == int(value):
            return int(value)
        if 0 < value < 1:
            return float(value)
    raise ValueError("must be a number of users, a fraction between 0 and 1, or names of users")


Who = Annotated[int | float | tuple[str, ...], BeforeValidator(_who)]
"""How many users, which part of them, or which."""


class People(Frozen):
    """Whole users that are held out, drawn by the seed; all others train."""

    val: Who = 1
    """Users for validation: how many, a fraction of all, or a list of names."""
    test: Who = 0
    """Users for test, in the same way."""

    def __str__(self) -> str:
        """Return it as the option ``--people`` takes it."""

        def text(who: int | float | tuple[str, ...]) -> str:
            return f"[{','.join(who)}]" if isinstance(who, tuple) else f"{who:g}"

        return f"val={text(self.val)},test={text(self.test)}"


def people_of(value: Any) -> Any:
    """Return what the text of ``--people`` stands for; anything else as it is.

    Raises:
        ValueError: the text is not of that form.
    """
    if not isinstance(value, str):
        return value
    found: dict[str, Any] = {}
    role = ""
    for part in filter(None, map(str.strip, value.split(","))):
        name, equals, text = part.partition("=") if "=" in part else (role, "", part)
        if not name or not text or (equals and name in found):
            raise ValueError(f"{value!r}: name users once each for val and test: {_EXAMPLE}")
        role = name
        found.setdefault(role, []).append(text)
    if not found:
        raise ValueError(f"{value!r}: name users for val and test: {_EXAMPLE}")
    return {role: _several(texts) for role, texts in found.items()}


def read_people(value: Any, label: str = "--people") -> People:
    """Return a split of people from the option's text, or from a mapping.

    Raises:
        ValueError: it is none; the message says what is wrong and what is right.
    """
    if isinstance(value, People):
        return value
    try:
        values = people_of(value)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None
    try:
        return People.model_validate(values)
    except ValidationError as error:
        mistakes = "; ".join(explain(error, f"{label} {value}", People))
        raise ValueError(f"{mistakes}: such as {_EXAMPLE}") from None


def draw_people(
    data: str,
    people: People,
    files_of: Mapping[str, Sequence[Path]],
    seed: int,
    info_of: Callable[[Path], SessionInfo],
) -> dict[str, list[Path]]:
    """Return the session files of each subset, where whole users are held out.

    Users are ordered by a hash of seed and name. The first are for test and the last for
    validation, so a user who joins later changes the role of one other at most.

    Args:
        data: where the files lie, for messages.
        people: who is held out.
        files_of: session files of each user.
        seed: seed of the draw.
        info_of: what a session file says of itself.

    Raises:
        ValueError: there is one user, a name is unknown or in two roles, nobody is left to train,
            or a user has no keys.
    """
    users = sorted(files_of)
    if len(users) < 2:
        raise ValueError(
            f"{data}: people are held out ({people}), and all sessions are of one user, "
            f"{users[0]}: leave --people out, or add sessions of others"
        )
    roles = _roles(data, people, users, seed)
    silent = [user for user in users if not any(_typed(info_of(path)) for path in files_of[user])]
    if silent:
        raise ValueError(
            f"{data}: no keys and no prompts in any session of {_named(silent)}: they can neither "
            f"train nor test: remove their files from the folder, or list the others in a split "
            f"file"
        )
    return {
        role: [
            path
            for user in users
            if roles[user] == role
            for path in by_name(files_of[user], data).values()
        ]
        for role in ("train", "val", "test")
    }


def _roles(data: str, people: People, users: Sequence[str], seed: int) -> dict[str, str]:
    """Return the subset of each user."""
    pairs = (("test", people.test), ("val", people.val))
    asked = {role: _named_in(who, users) for role, who in pairs}
    names = {role: who for role, who in asked.items() if isinstance(who, tuple)}
    strangers = {role: [name for name in who if name not in users] for role, who in names.items()}
    if said := [f"{role}: {_named(who)} unknown" for role, who in strangers.items() if who]:
        raise ValueError(f"{data}: --people {', '.join(said)}: the users are {_named(users)}")
    if both := sorted(set(names.get("val", ())) & set(names.get("test", ()))):
        raise ValueError(
            f"{data}: --people: {_named(both)} in two roles, val and test: name each user once"
        )
    roles = {name: role for role, who in names.items() for name in who}
    # By a hash of the name: a user who joins later moves one other at most. Test from one end of
    # the order and validation from the other, so that neither moves users of the other.
    free = sorted(
        (user for user in users if user not in roles),
        key=lambda user: hashlib.sha256(f"{seed}:{user}".encode()).digest(),
    )
    count = {role: _count(who, len(users)) for role, who in asked.items() if role not in names}
    if sum(count.values()) >= len(free) or not (count.get("val", 1) and names.get("val", True)):
        held = sum(count.values()) + len(roles)
        raise ValueError(
            f"{data}: --people {people} holds out {held}, and there are "
            f"{counted(len(users), 'user')}: validation and training need one each: "
            f"{_named(users)}"
        )
    roles |= dict.fromkeys(free[: count.get("test", 0)], "test")
    roles |= dict.fromkeys(free[len(free) - count.get("val", 0) :], "val")
    return {user: roles.get(user, "train") for user in users}


def _named_in(who: int | float | tuple[str, ...], users: Sequence[str]) -> Any:
    """Return who is asked for; a number that is too large to be one of users may be a name."""
    if isinstance(who, int) and who > len(users) and str(who) in users:
        return (str(who),)
    return who


def _count(who: int | float, users: int) -> int:
    return who if isinstance(who, int) else max(1, round(who * users))


def _typed(info: SessionInfo) -> int:
    """Return the keys of a session, or the prompts where these are its ground truth."""
    return info.keys if info.condition == ON_KEYBOARD else info.prompts


def _several(texts: list[str]) -> Any:
    """Return the names of a list, or a value that stands alone and without brackets."""
    bare = [text.strip("[]") for text in texts]
    return bare[0] if texts == bare and len(texts) == 1 else [text for text in bare if text]


def _named(users: Sequence[str]) -> str:
    """Return names of users, the first of many."""
    more = f" and {len(users) - 10} more" if len(users) > 10 else ""
    return ", ".join(users[:10]) + more
