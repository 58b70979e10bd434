"""Imports source of the user's own from memory."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from emgmodels.own_code.source import FOLDER, Code, CodeError, Reference

_INSTALLED: dict[str, Code] = {}
"""Code that this process may import, by its hash."""


def install(code: Code) -> None:
    """Make code importable in this process; nothing of it runs before ``load``.

    Raises:
        CodeError: another version of its package is imported here.
    """
    if code.sha256 in _INSTALLED:
        return
    modules = {
        code.module(path): (str(Path(code.place, path)), text, path.endswith("__init__.py"))
        for path, text in code.files
    }
    for name, (_, text, _) in modules.items():
        if _FINDER.modules.get(name, modules[name])[1] != text or _differs(name, text):
            raise CodeError(
                f"{code.name}: another version of this package is in use in this process "
                f"already: begin a new process, or give one of them another name"
            )
    _FINDER.modules |= modules
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    _INSTALLED[code.sha256] = code


def load(text: str) -> Any:
    """Return what a reference with a hash names, of code that is installed in this process.

    Raises:
        CodeError: it is not installed, it cannot be imported, or the name is not in it.
    """
    reference = Reference.read(text)
    code = _INSTALLED.get(reference.sha256)
    if code is None:
        raise CodeError(
            f"{reference.path}:{reference.name} is code that this process has not loaded: open the "
            f"run or checkpoint that it came with, with allow_code=True"
        )
    try:
        module = importlib.import_module(code.module(reference.path))
    except (Exception, SystemExit) as error:
        raise CodeError(f"{reference.path}: cannot be imported: {told(error)}") from None
    if not hasattr(module, reference.name):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise CodeError(
            f"{reference.path}: holds no {reference.name}: it has {', '.join(names) or 'nothing'}"
        )
    return getattr(module, reference.name)


def load_class(text: str, base: type[Any], what: str, derives: str) -> Any:
    """Return the class that a reference with a hash names.

    Args:
        text: the reference.
        base: what it derives from.
        what: the part of a space that it is, such as ``stage 'gated'``.
        derives: the base as people know it.

    Raises:
        CodeError: as ``load``, or it is no such class.
    """
    kind = load(text)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise CodeError(f"{what} ({_place(text)}): must be a class that derives from {derives}")
    return kind


@contextlib.contextmanager
def explained(what: str, text: str, call: str = "") -> Iterator[None]:
    """Tell an error of code of the user's own as one of that part, with the line it came from.

    Args:
        what: the part of a space that it is.
        text: its reference.
        call: what it is made with, for an error that a wrong signature may have caused.
    """
    try:
        yield
    except Exception as error:
        hint = f": it is made with {call}" if call and isinstance(error, TypeError) else ""
        raise CodeError(f"{what} ({_place(text)}): {told(error)}{hint}") from error


def is_installed(text: str) -> bool:
    """Return whether the code of a reference with a hash is installed in this process."""
    return text.rpartition("@")[2] in _INSTALLED


def installed() -> tuple[Code, ...]:
    """Return all code that is installed in this process."""
    return tuple(replace(code, place=FOLDER) for code in _INSTALLED.values())


def codes_of(references: Iterable[str]) -> list[Code]:
    """Return the sources that references with a hash name, of those installed in this process."""
    hashes = {text.rpartition("@")[2] for text in references}
    return [_INSTALLED[sha] for sha in sorted(hashes & _INSTALLED.keys())]


def carried(references: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the sources of references as a checkpoint carries them: by hash, path and text."""
    return {code.sha256: dict(code.files) for code in codes_of(references)}


def told(error: BaseException) -> str:
    """Return what an error in the user's code came to, and the line that it was raised at."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    ours = {filename for filename, _, _ in _FINDER.modules.values()}
    lines = [each for each in traceback.extract_tb(error.__traceback__) if each.filename in ours]
    if lines:
        text += f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})"
    if isinstance(error, ModuleNotFoundError):
        text += ": install it; a file cannot import its neighbours, a package can"
    return text


def _place(text: str) -> str:
    """Return a reference without its hash, as people wrote it."""
    return text.partition("@")[0]


class _Sources(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports modules from source in memory.

    Attributes:
        modules: file name, text, and whether it is a package, by dotted name.
    """

    def __init__(self) -> None:
        self.modules: dict[str, tuple[str, str, bool]] = {}

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to import a module that is here."""
        if fullname not in self.modules:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self.get_filename(fullname),
            loader=self,
            submodule_search_locations=[] if self.is_package(fullname) else None,
        )

    def get_filename(self, fullname: str) -> str:
        """Return the name that tracebacks show."""
        return self.modules[fullname][0]

    def get_source(self, fullname: str) -> str:
        """Return the text; pydantic reads the meaning of settings in it."""
        return self.modules[fullname][1].removeprefix("\ufeff")

    def is_package(self, fullname: str) -> bool:
        """Return whether it has modules below it."""
        return self.modules[fullname][2]


_FINDER = _Sources()


def _differs(name: str, text: str) -> bool:
    """Return whether a module is imported already, from another text."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None or name in _FINDER.modules:
        return name in sys.modules and name not in _FINDER.modules
    return Path(origin).is_file() and Path(origin).read_bytes() != text.encode()
