"""What a session file says beside its signal: attributes, keystrokes and prompts.

What is needed must be right: the condition, and the ground truth that goes with it. What is not
needed may be missing or odd; a note then says what stands in or was left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from emgmodels.sessions.opening import GROUP, SessionError
from emgmodels.sessions.session import ON_KEYBOARD, Keystroke, Prompt

if TYPE_CHECKING:
    import h5py

_Item = TypeVar("_Item", Keystroke, Prompt)


@dataclass(frozen=True)
class Header:
    """The attributes of a session file.

    Attributes:
        session_name: Name of the session; the file's where the file says none.
        user: The subject; the folder's name where the file says none.
        condition: How was typed.
        duration_mins: Length as the recorder noted it (minutes); None where it did not.
        keystrokes: What JSON has of the keystrokes, item by item.
        prompts: What JSON has of the prompts, item by item.
        missing: Attributes that the file lacks.
    """

    session_name: str
    user: str
    condition: str
    duration_mins: float | None
    keystrokes: list[Any]
    prompts: list[Any]
    missing: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the file lacks, and what stands in for it."""
        if not self.missing:
            return ()
        named = {"session_name": self.session_name, "user": self.user}
        told = (
            f"{name} (read as {named[name]!r})" if name in named else name for name in self.missing
        )
        return (f"its file lacks {', '.join(told)}",)


def read_header(path: Path, group: h5py.Group) -> Header:
    """Return the attributes of a group.

    Raises:
        SessionError: an attribute that is needed is missing, or one is of a wrong kind.
    """
    values = {
        name: read(path, name, group.attrs[name])
        for name, read in _ATTRIBUTES.items()
        if name in group.attrs
    }
    missing = [name for name in _ATTRIBUTES if name not in values]
    on_keyboard = values.get("condition", ON_KEYBOARD) == ON_KEYBOARD
    needed = ("condition", "keystrokes" if on_keyboard else "prompts")
    lacking = [name for name in missing if name in needed]
    if lacking:
        raise SessionError(
            f"{path}: group '{GROUP}' lacks the attributes {', '.join(lacking)} "
            f"(found: {', '.join(group.attrs) or 'none'})"
        )
    stand_ins: dict[str, Any] = {
        "session_name": path.stem,
        # Folders of a data set are often one a person.
        "user": path.parent.name or path.absolute().parent.name or "unknown",
        "duration_mins": None,
        "keystrokes": [],
        "prompts": [],
    }
    return Header(**{**stand_ins, **values}, missing=tuple(missing))


def read_truth(
    path: Path, header: Header
) -> tuple[tuple[Keystroke, ...], tuple[Prompt, ...], list[str]]:
    """Return keystrokes and prompts, each sorted by start, and notes on what was left out.

    Raises:
        SessionError: one that is the ground truth can't be read.
    """
    notes: list[str] = []
    on_keyboard = header.condition == ON_KEYBOARD
    keystrokes = _items(path, "keystrokes", header.keystrokes, keystroke, on_keyboard, notes)
    prompts = _items(path, "prompts", header.prompts, prompt, not on_keyboard, notes)
    return keystrokes, prompts, notes


def check_attributes(path: Path, header: dict[str, Any]) -> None:
    """Refuse attributes, as a session file has them, that could not be read."""
    for name, check in _ATTRIBUTES.items():
        if name not in ("keystrokes", "prompts"):
            check(path, name, header[name])
    for where, item in _numbered(path, header["keystrokes"], "keystrokes"):
        if not keystroke(where, item).key:
            raise SessionError(f"{where}.key is '': expected pynput's name of a key")
        _seconds(f"{where}.end", item["end"])
    for where, item in _numbered(path, header["prompts"], "prompts"):
        prompt(where, item)
        _seconds(f"{where}.end", item["end"])


def _items(
    path: Path,
    name: str,
    items: list[Any],
    read: Callable[[str, Any], _Item],
    is_truth: bool,
    notes: list[str],
) -> tuple[_Item, ...]:
    """Return what can be read of a list, sorted by start; of the ground truth that is all of it."""
    found: list[_Item] = []
    refused: list[str] = []
    for where, item in _numbered(path, items, name):
        try:
            found.append(read(where, item))
        except SessionError as error:
            # What is only shown beside the ground truth must not make a good recording unusable.
            if is_truth:
                raise
            refused.append(str(error).removeprefix(f"{path}: "))
    if refused:
        notes.append(f"{len(refused)} {name} are left out, which are not needed: {refused[0]}")
    return tuple(sorted(found, key=lambda item: item.start))


def _numbered(path: Path, items: list[Any], name: str) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list, each after the place to name in a message."""
    for index, item in enumerate(items):
        yield f"{path}: {name}[{index}]", item


def keystroke(where: str, item: Any) -> Keystroke:
    """Return a keystroke from what JSON has of it; a key without a name has no label."""
    _check_object(where, item)
    key = item.get("key")
    if not isinstance(key, str):
        raise SessionError(f"{where}.key is {key!r}: expected pynput's name of a key")
    return Keystroke(key, *_span(where, item))


def prompt(where: str, item: Any) -> Prompt:
    """Return a prompt from what JSON has of it."""
    _check_object(where, item)
    payload = item.get("payload", "missing")
    text = payload.get("text", 0) if isinstance(payload, dict) else payload
    if text is not None and not (isinstance(payload, dict) and isinstance(text, str)):
        raise SessionError(f'{where}.payload is {payload!r}: expected {{"text": ...}} or null')
    return Prompt(str(item.get("name") or ""), *_span(where, item), text)


def _check_object(where: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise SessionError(f"{where} is {item!r}: expected an object")


def _span(where: str, item: dict[str, Any]) -> tuple[float, float]:
    """Return start and end; what has no end, or one that is not a number, ends as it starts."""
    start = _seconds(f"{where}.start", item.get("start"))
    end = item.get("end")
    if end is None or (isinstance(end, float) and math.isnan(end)):
        return start, start
    return start, _seconds(f"{where}.end", end)


def _seconds(where: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        seconds = float(value) if is_number else math.nan
    except OverflowError:
        raise SessionError(f"{where} has {len(str(value))} digits: expected unix seconds") from None
    if not math.isfinite(seconds):
        raise SessionError(f"{where} is {value!r}: expected unix seconds")
    return seconds


def _text(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SessionError(f"{path}: attribute '{name}' is not UTF-8: {error}") from None
    if isinstance(value, str):
        return str(value)
    if name == "user" and isinstance(value, int | np.integer):
        return str(value)
    kind = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
    raise SessionError(f"{path}: attribute '{name}' is {kind}: expected text")


def _minutes(path: Path, name: str, value: Any) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or not math.isfinite(value) or value < 0:
        raise SessionError(f"{path}: attribute '{name}' is {value!r}: expected minutes >= 0")
    return float(value)


def _json_list(path: Path, name: str, value: Any) -> list[Any]:
    try:
        items = json.loads(_text(path, name, value))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SessionError(f"{path}: attribute '{name}' is broken JSON: {error}") from None
    except SessionError:
        raise
    except ValueError:  # Python reads no integer of thousands of digits
        raise SessionError(
            f"{path}: attribute '{name}' has a number of more than 4300 digits: expected unix "
            f"seconds"
        ) from None
    if not isinstance(items, list):
        kind = type(items).__name__
        raise SessionError(f"{path}: attribute '{name}' is a JSON {kind}: expected a list")
    return items


_ATTRIBUTES = {
    "session_name": _text,
    "user": _text,
    "condition": _text,
    "duration_mins": _minutes,
    "keystrokes": _json_list,
    "prompts": _json_list,
}
