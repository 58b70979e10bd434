"""Ray's snapshots of a search: written so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
from ray.tune.experiment import Trial

from search.engine.patching import patch, replaced

_TUNER = "ray.tune.impl.tuner_internal"


class SnapshotError(BaseException):
    """A snapshot of Ray's that cannot be read; no ``Exception``, all of which Ray catches."""


class _Forgotten:
    """Stands for an object that is made again: takes whatever it was made of, and keeps nothing."""

    def __new__(cls, *_: object, **__: object) -> _Forgotten:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def ignore(self, *_: object) -> None:
        """Take a state or items that a pickle gives."""

    __setstate__ = __setitem__ = append = extend = add = ignore


class _Unpickler(pickle.Unpickler):
    """Reads Ray's objects, and none of this project's classes or of the user's own."""

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        is_ours = root in ("search", "emgmodels") or root.startswith("own_code_")
        try:
            found = super().find_class(module, name)
        except (AttributeError, ImportError):
            if not is_ours:
                raise
            return _Forgotten  # an older version had it there
        return _Forgotten if is_ours and isinstance(found, type) else found


def read_tuner(content: bytes) -> Any:
    """Return what Ray's ``tuner.pkl`` has, without searcher, scheduler and space.

    These are made again from the run folder. An older version may have had their classes under
    other names, and the classes of a space with code of the user's own have names of their fields.
    """
    return _Unpickler(io.BytesIO(content)).load()


@patch("2.60.0", f"{_TUNER}:pickle.loads", f"{_TUNER}:pickle.dumps")
@contextlib.contextmanager
def without_searcher() -> Iterator[None]:
    """Let Ray restore a search without its searcher and scheduler; see ``read_tuner``."""
    tuner: Any = importlib.import_module(_TUNER)
    stand_in = SimpleNamespace(loads=read_tuner, dumps=tuner.pickle.dumps)
    with replaced(tuner, "pickle", stand_in):
        yield


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return what the files of a folder have, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def write_whole(contents: dict[str, bytes], to: tuple[pyarrow.fs.FileSystem, str]) -> None:
    """Write files into a folder; whoever reads one meanwhile reads all of the old one, or the new.

    Args:
        contents: what to write, by name.
        to: the folder, which is made if need be: its filesystem, and its path there.
    """
    filesystem, folder = to
    # An object store shows an object when all of it is there, and would copy it to rename it.
    is_local = isinstance(filesystem, pyarrow.fs.LocalFileSystem)
    filesystem.create_dir(folder)
    for name, content in contents.items():
        place = f"{folder}/{name}"
        scratch = f"{place}.part" if is_local else place
        with filesystem.open_output_stream(scratch) as file:
            file.write(content)
        if is_local:
            filesystem.move(scratch, place)


def go_on_here(trial: Trial, staged_at: str) -> None:
    """Let a restored trial go on in this session of Ray; from its start where it must.

    Args:
        trial: as Ray restored it.
        staged_at: what the session's staged files lie under.
    """
    storage: Any = trial.storage
    storage._timestamp = staged_at
    trial.init_local_path()
    saved: Any = trial.checkpoint
    if trial.is_finished() or saved is None:
        return
    # A trial whose checkpoint is gone could not go on from it.
    if saved.filesystem.get_file_info(saved.path).type == pyarrow.fs.FileType.NotFound:
        manager: Any = trial.run_metadata.checkpoint_manager
        trial.run_metadata.checkpoint_manager = type(manager)(manager.checkpoint_config)
