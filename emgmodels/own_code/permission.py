"""Whose code is imported: what the user says, and what lies in the current folder's own tree."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from emgmodels.own_code.importing import install, is_installed
from emgmodels.own_code.source import FOLDER, Code, CodeError, NotAllowedError, Reference

FETCHED = ".fetched"
"""A file in a folder that comes from elsewhere, or is made to be shared: it is nobody's own."""
_ALLOWED: ContextVar[bool] = ContextVar("allow_code", default=False)
_P = ParamSpec("_P")
_R = TypeVar("_R")


@contextlib.contextmanager
def code_allowed(allow: bool) -> Iterator[None]:
    """Let code that anything names be imported meanwhile, if so allowed."""
    token = _ALLOWED.set(allow or _ALLOWED.get())
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def asks_for_code(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function during whose calls ``allow_code=True`` holds, if it is given."""

    @functools.wraps(function)
    def asking(*arguments: _P.args, **options: _P.kwargs) -> _R:
        with code_allowed(options.get("allow_code") is True):
            return function(*arguments, **options)

    return asking


def check_allowed(code: Code, named_by: Path) -> None:
    """Raise NotAllowedError unless code may be imported.

    Args:
        code: the source, as read from files.
        named_by: the file that names it.
    """
    paths = [named_by, *(Path(code.place, path) for path, _ in code.files)]
    if not (_ALLOWED.get() or all(map(is_ours, paths))):
        raise NotAllowedError(refusal(named_by, [f"{code.name} in {code.place}"]))


def refusal(named_by: Path, code: Iterable[str]) -> str:
    """Return why code is not imported, and what to do."""
    return (
        f"{named_by}: names code of its own, which is not imported before you say so: "
        f"{', '.join(code)}. Read it; if you trust it, add --allow-code to the command, or "
        f"allow_code=True in Python"
    )


def unpack(references: Iterable[str], sources: Mapping[str, Any], path: Path) -> None:
    """Install the code that a checkpoint names, from its own copies or from those of its run.

    Args:
        references: what it names, with hashes.
        sources: what ``carried`` gave.
        path: the checkpoint.

    Raises:
        CodeError: a source is missing or damaged, or nobody has allowed it.
    """
    missing = {Reference.read(text) for text in references if not is_installed(text)}
    for sha256 in {reference.sha256 for reference in missing}:
        named = sorted(f"{each.path}:{each.name}" for each in missing if each.sha256 == sha256)
        if sha256 not in sources:
            raise CodeError(
                f"{path}: the source of {', '.join(named)} is not in it: write it again"
            )
        code = Code(tuple(sorted(sources[sha256].items())), f"{path} ({FOLDER})")
        if code.sha256 != sha256:
            raise CodeError(
                f"{path}: the source of {', '.join(named)} in it is not what was written: take the "
                f"original file"
            )
        if not _ALLOWED.get() and not (is_ours(path) and _is_kept_near(code, path)):
            held = f"torch.load({str(path)!r})['{FOLDER}'] holds it"
            if path.suffix == ".safetensors":
                held = f"'{FOLDER}' in {path.parent / 'config.json'} holds it"
            raise NotAllowedError(refusal(path, [*named[:-1], f"{named[-1]} ({held})"]))
        install(code)


def is_ours(path: Path) -> bool:
    """Return whether a file lies in the current folder's tree.

    A home folder is no project: what was downloaded lies below it too.
    """
    here, path = Path.cwd().resolve(), path.resolve()
    if here in (Path(here.anchor), Path.home().resolve()) or not path.is_relative_to(here):
        return False
    below = [folder for folder in path.parents if folder.is_relative_to(here)]
    return not any((folder / FETCHED).exists() for folder in below)


def _is_kept_near(code: Code, path: Path) -> bool:
    """Return whether the run that a checkpoint lies in keeps the same source."""
    if path.suffix == ".safetensors":
        return False  # of a folder to share, which brings its code from wherever it comes
    for folder in path.resolve().parents:
        files = [(folder / FOLDER / name, text) for name, text in code.files]
        if all(each.is_file() and each.read_bytes() == text.encode() for each, text in files):
            return all(is_ours(each) for each, _ in files)
    return False
