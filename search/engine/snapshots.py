"""Ray's snapshots of a search: written so that a kill at any moment leaves a whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
from ray.tune.experiment import Trial

TRIALS = "experiment_state-"
"""What the file of Ray's snapshot with the trials begins with; other files have the searcher."""


class SnapshotError(BaseException):
    """A snapshot of Ray's that cannot be read; no ``Exception``, all of which Ray catches."""


class Files:
    """The files of a folder as they were at a moment, by name."""

    def __init__(self, folder: Path | None = None) -> None:
        paths = [] if folder is None else [path for path in folder.iterdir() if path.is_file()]
        self.contents = {path.name: path.read_bytes() for path in paths}

    def __reduce__(self) -> tuple[type[Files], tuple[()]]:
        """Leave no contents in the next snapshot, into which Ray pickles what wrote the last."""
        return Files, ()

    def write(self, filesystem: pyarrow.fs.FileSystem, folder: str) -> None:
        """Write them: whoever reads one meanwhile reads all of the old one, or of the new.

        Args:
            filesystem: where the folder is.
            folder: is made if need be.
        """
        # An object store shows an object when all of it is there, and would copy it to rename it.
        is_local = isinstance(filesystem, pyarrow.fs.LocalFileSystem)
        filesystem.create_dir(folder)
        # The trials come last: where their file is, there are all others that Ray reads.
        names = sorted(self.contents, key=lambda name: name.startswith(TRIALS))
        for name in names:
            place = f"{folder}/{name}"
            scratch = f"{place}.part" if is_local else place
            with filesystem.open_output_stream(scratch) as file:
                file.write(self.contents[name])
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


def forget_statistics(trial: Trial) -> None:
    """Drop what Ray computes of every metric of every trial, 36 KB each, and nobody here reads."""
    trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}


def forget_configuration(trial: Trial) -> None:
    """Leave an ended trial what names it: tables and ``checkpoints/`` of the run have the rest."""
    trial.set_config({name: value for name, value in trial.config.items() if name != "config"})
    manager: Any = trial.run_metadata.checkpoint_manager
    trial.run_metadata.checkpoint_manager = type(manager)(manager.checkpoint_config)
