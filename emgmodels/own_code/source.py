"""Source of the user's own: named by references, read from files, hashed and copied."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "code"
"""Where a run folder keeps copies."""
_REFERENCE = re.compile(r"(?P<path>[^:@\n]+):(?P<name>[A-Za-z_]\w*)(?:@(?P<sha256>[0-9a-f]{64}))?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MOST_BYTES = 2_000_000
"""Of a package; it travels with each checkpoint."""


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


def _module_file(module: str, folder: Path) -> Path:
    """Return the file of a module, found without importing anything."""
    top, *below = module.split(".")
    spec = None
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
