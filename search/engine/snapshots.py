"""Ray's snapshots of a search: written so that a kill at any moment leaves a whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
from ray.tune.experiment import Trial


class SnapshotError(BaseException):
    """A snapshot of Ray's that cannot be read; no ``Exception``, all of which Ray catches."""


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
