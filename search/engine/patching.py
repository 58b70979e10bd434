"""Applies a patch to Ray only where the installed Ray has what the patch replaces or calls.

A patch names the pieces of Ray that it stands on. If one is missing, or takes other arguments, the
patch is left out: Ray then does what it does by itself, and the search goes on.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import ray

_PATCHES: dict[str, Patch] = {}


@dataclass(frozen=True)
class Patch:
    """A change to Ray for as long as a context lasts.

    Attributes:
        apply: makes the context.
        seen: the version of Ray with which it was seen to be needed.
        pieces: what of Ray it stands on; see ``missing``.
    """

    apply: Callable[..., AbstractContextManager[None]]
    seen: str
    pieces: tuple[str, ...]

    def __call__(self, *given: Any) -> AbstractContextManager[None]:
        """Return the context; where the patch does not apply, one that changes nothing."""
        return contextlib.nullcontext() if self.objection() else self.apply(*given)

    def objection(self) -> str:
        """Return why the patch does not apply to the installed Ray; empty where it does."""
        wrong = list(filter(None, map(missing, self.pieces)))
        if not wrong:
            return ""
        return f"Ray {ray.__version__}: {'; '.join(wrong)}; needed with Ray {self.seen}"


def patch(
    seen: str, *pieces: str
) -> Callable[[Callable[..., AbstractContextManager[None]]], Patch]:
    """Return a decorator that makes a ``Patch`` of a function that returns a context."""

    def register(apply: Callable[..., AbstractContextManager[None]]) -> Patch:
        _PATCHES[apply.__name__] = made = Patch(apply, seen, pieces)
        return made

    return register


def left_out() -> dict[str, str]:
    """Return the patches that do not apply to the installed Ray, each with the reason."""
    found = {name: each.objection() for name, each in _PATCHES.items()}
    return {name: why for name, why in found.items() if why}


def missing(piece: str) -> str:
    """Return what is wrong with a piece of Ray; empty where it is as a patch knows it.

    Args:
        piece: ``module:name``, or ``module:Class.name`` for a class's attribute, or one that its
            ``__init__`` assigns. With ``(self, trial)`` behind it, it must take just that.
    """
    path, _, takes = piece.partition("(")
    module, _, names = path.partition(":")
    found: Any = None
    name = ""
    try:
        found = importlib.import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        if inspect.isclass(found) and name in _assigned(found):
            return ""
        return f"{path} is missing"
    if takes:
        wanted = [name for name in takes.rstrip(")").split(", ") if name]
        try:
            known = list(inspect.signature(found).parameters)
        except (TypeError, ValueError):
            return f"{path} is no function"
        if known != wanted:
            return f"{path} takes ({', '.join(known)})"
    return ""


def of_ray(piece: str) -> Any:
    """Return a module of Ray's, or what it has under a name: ``module:name``."""
    module, _, name = piece.partition(":")
    whole = importlib.import_module(module)
    return getattr(whole, name) if name else whole


@contextlib.contextmanager
def replaced(of: Any, **values: Any) -> Iterator[None]:
    """Give attributes other values for as long as the context lasts."""
    known = {name: getattr(of, name) for name in values}
    for name, value in values.items():
        if inspect.isfunction(known[name]):  # so that a search inside of another finds Ray's own
            value = functools.update_wrapper(value, known[name])  # signature
        setattr(of, name, value)
    try:
        yield
    finally:
        for name, value in known.items():
            setattr(of, name, value)


def _assigned(kind: type) -> set[str]:
    """Return the names that the ``__init__`` of a class and of its bases use."""
    return {name for each in kind.__mro__ for name in _names(vars(each).get("__init__"))}


def _names(function: Any) -> tuple[str, ...]:
    code = getattr(inspect.unwrap(function) if function else None, "__code__", None)
    return code.co_names if code else ()
