"""Code of the user's own: found, hashed, imported where that is allowed, copied with a run.

A stage, scheduler, sampler or augmentation may stand outside this project. A reference names it:

    my_blocks.py:GatedStage              in a file, by its path from the folder of the space
    package.module:GatedStage            in a module, of that folder or as Python finds it
    my_blocks.py:GatedStage@SHA256       in this very text of the file

Source is read once and executed from memory, so what runs is what was hashed, and a process on
another machine needs no file. A file is a module by itself. A file inside a package brings the
Python files of the whole package.

Naming code does not run it. It is imported where the caller says so (``allow_code``), or where it
lies in the current folder's tree together with the file that names it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

FOLDER = "code"
"""Where a run folder keeps copies."""
_REFERENCE = re.compile(r"(?P<path>[^:@\n]+):(?P<name>[A-Za-z_]\w*)(?:@(?P<sha256>[0-9a-f]{64}))?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MOST_BYTES = 2_000_000
"""Of a package; it travels with each checkpoint."""
_ALLOWED: ContextVar[bool] = ContextVar("allow_code", default=False)
_INSTALLED: dict[str, Code] = {}

_P = ParamSpec("_P")
_R = TypeVar("_R")


class CodeError(ValueError):
    """Code of the user's own cannot be used: what, where and how to mend it."""


class NotAllowedError(CodeError):
    """Code is named by something that may be from somebody else, and nobody has allowed it."""


@dataclass(frozen=True)
class Reference:
    """Where something stands: in a file or module, under a name, in which version.

    Attributes:
        path: a file's path, or a module's dotted name.
        name: the name in it.
        sha256: hash of the source; empty: any.
    """

    path: str
    name: str
    sha256: str = ""

    @classmethod
    def read(cls, text: object) -> Reference:
        """Return what a text refers to.

        Raises:
            CodeError: it is no reference.
        """
        found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if found is None or not (found["path"].endswith(".py") or _MODULE.fullmatch(found["path"])):
            raise CodeError(
                f"{text!r} is not allowed: write my_blocks.py:NAME or package.module:NAME, with a "
                f"name that stands in it"
            )
        return cls(found["path"], found["name"], found["sha256"] or "")

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" + (f"@{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True)
class Code:
    """Source of one file, or of the package around it.

    Attributes:
        files: path below the folder that holds file or package, and text, in order.
        place: that folder, as tracebacks name it.
    """

    files: tuple[tuple[str, str], ...]
    place: str = field(default="", compare=False)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the source: of a file its own, as ``sha256sum`` prints it."""
        if len(self.files) == 1 and "/" not in self.files[0][0]:
            return hashlib.sha256(self.files[0][1].encode()).hexdigest()
        digest = hashlib.sha256()
        for path, text in self.files:
            digest.update(f"{path}\0{len(text.encode())}\0{text}".encode())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """What to call it: the file, or the package."""
        return self.files[0][0].split("/")[0]

    def module(self, path: str) -> str:
        """Return the module of a file: a package's under its own name, as its files import it.

        A single file's name holds the hash, so that two versions, or a file that is called as a
        library is, stay apart in one process.
        """
        parts = path.removesuffix(".py").split("/")
        if len(parts) == 1:
            return f"own_code_{self.sha256[:16]}_{re.sub(r'[^0-9A-Za-z_]', '_', parts[0])}"
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def install(self) -> None:
        """Make it importable in this process; nothing of it runs before ``load``.

        Raises:
            CodeError: another version of its package is imported here.
        """
        if self.sha256 in _INSTALLED:
            return
        modules = {
            self.module(path): (str(Path(self.place, path)), text, path.endswith("__init__.py"))
            for path, text in self.files
        }
        for name, (_, text, _) in modules.items():
            if _FINDER.modules.get(name, modules[name])[1] != text or _differs(name, text):
                raise CodeError(
                    f"{self.name}: another version of this package is in use in this process "
                    f"already: begin a new process, or give one of them another name"
                )
        _FINDER.modules |= modules
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
        _INSTALLED[self.sha256] = self


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
        return self.modules[fullname][1]

    def is_package(self, fullname: str) -> bool:
        """Return whether it has modules below it."""
        return self.modules[fullname][2]


_FINDER = _Sources()


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


def find_code(reference: Reference, folder: Path) -> tuple[Code, Reference]:
    """Return the source that a reference names, and the reference as a configuration has it.

    Nothing is imported. In the reference returned, the path begins at the file or package, and the
    hash is given.

    Args:
        reference: file, or module, and name.
        folder: what a file's path begins at; modules are looked for here first.

    Raises:
        CodeError: there is no such source, it lies outside the folder, or it has changed.
    """
    if reference.path.endswith(".py"):
        path = folder / reference.path
        root = folder.resolve()
        if Path(reference.path).is_absolute() or not path.resolve().is_relative_to(root):
            raise CodeError(
                f"{reference} is not allowed: the file must stand in {folder} or below it, without "
                f"a link that leads out: copy it there, or name an installed package"
            )
        if not path.is_file():
            raise CodeError(f"{reference}: there is no file {path}: correct the path")
    else:
        path = _module_file(reference.path, folder)
    code = read_code(path)
    below = _normal(path).relative_to(code.place).as_posix()
    if reference.sha256 and reference.sha256 != code.sha256:
        raise CodeError(
            f"{reference.path}: has changed: its sha256 is {code.sha256}, and {reference.sha256} "
            f"is asked for: put that text back, or begin a new search with the new one"
        )
    return code, Reference(below, reference.name, code.sha256)


def read_code(path: Path) -> Code:
    """Return the source of a file and, where it stands in a package, of that package.

    Raises:
        CodeError: a file is no Python source, or the package is too large to travel.
    """
    path = top = _normal(path)
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    found = sorted(top.rglob("*.py")) if top.is_dir() else [path]
    if (size := sum(each.stat().st_size for each in found)) > _MOST_BYTES:
        raise CodeError(
            f"{top}: is {size / 1e6:.1f} MB of Python, more than {_MOST_BYTES / 1e6:g} MB that "
            f"travel with a checkpoint: move what is named to a file or small package of its own"
        )
    files = []
    for each in found:
        try:
            text = each.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise CodeError(f"{each}: cannot be read as Python in UTF-8: {error}") from None
        files.append((each.relative_to(top.parent).as_posix(), text))
    return Code(tuple(files), str(top.parent))


def check_allowed(code: Code, named_by: Path) -> None:
    """Raise NotAllowedError unless code may be imported.

    Args:
        code: the source, as read from files.
        named_by: the file that names it.
    """
    paths = [named_by, *(Path(code.place, path) for path, _ in code.files)]
    if not (_ALLOWED.get() or all(map(_is_ours, paths))):
        raise NotAllowedError(refusal(named_by, [f"{code.name} in {code.place}"]))


def refusal(named_by: Path, code: Iterable[str]) -> str:
    """Return why code is not imported, and what to do."""
    return (
        f"{named_by}: names code of its own, which is not imported before you say so: "
        f"{', '.join(code)}. Read it; if you trust it, add --allow-code to the command, or "
        f"allow_code=True in Python"
    )


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


def is_installed(text: str) -> bool:
    """Return whether the code of a reference with a hash is installed in this process."""
    return text.rpartition("@")[2] in _INSTALLED


def installed() -> tuple[Code, ...]:
    """Return all code that is installed in this process."""
    return tuple(replace(code, place=FOLDER) for code in _INSTALLED.values())


def carried(references: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the sources of references as a checkpoint carries them: by hash, path and text."""
    hashes = {text.rpartition("@")[2] for text in references}
    return {sha: dict(_INSTALLED[sha].files) for sha in sorted(hashes & _INSTALLED.keys())}


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
                f"{path}: the source of {', '.join(named)} in it has been changed: take the file as it was written"
            )
        if not _ALLOWED.get() and not (_is_ours(path) and _is_kept_near(code, path)):
            raise NotAllowedError(refusal(path, named))
        code.install()


def write_code(codes: Iterable[Code], folder: Path) -> None:
    """Write copies of sources into a folder.

    Raises:
        CodeError: two of them have one name.
    """
    written: dict[str, str] = {}
    for code in codes:
        if written.setdefault(code.name, code.sha256) != code.sha256:
            raise CodeError(f"{code.name}: two files or packages have this name: rename one")
        for path, text in code.files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())


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


def _module_file(module: str, folder: Path) -> Path:
    """Return the file of a module, found without importing anything."""
    top, *below = module.split(".")
    spec = None
    if not ((folder / top).is_dir() or (folder / f"{top}.py").is_file()):
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)  # of a name without dots, this imports nothing
    places = [folder / top, *map(Path, getattr(spec, "submodule_search_locations", None) or ())]
    for place in places:
        path = place.joinpath(*below)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    origin = getattr(spec, "origin", None)
    if not below and origin and origin.endswith(".py"):
        return Path(origin)
    raise CodeError(
        f"{module}: there is no such module in {folder}, or among the installed packages: correct "
        f"the name, or install its package"
    )


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _differs(name: str, text: str) -> bool:
    """Return whether a module is imported already, from another text."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    if origin is None or name in _FINDER.modules:
        return name in sys.modules and name not in _FINDER.modules
    return Path(origin).is_file() and Path(origin).read_bytes() != text.encode()


def _is_ours(path: Path) -> bool:
    """Return whether a file lies in the current folder's tree.

    A home folder is no project: what was downloaded lies below it too.
    """
    here, path = Path.cwd().resolve(), path.resolve()
    return here not in (Path(here.anchor), Path.home()) and path.is_relative_to(here)


def _is_kept_near(code: Code, path: Path) -> bool:
    """Return whether the run that a checkpoint lies in keeps the same source."""
    for folder in path.resolve().parents:
        files = [(folder / FOLDER / name, text) for name, text in code.files]
        if all(each.is_file() and each.read_bytes() == text.encode() for each, text in files):
            return all(_is_ours(each) for each, _ in files)
    return False
