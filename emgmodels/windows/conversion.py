"""Writes recordings: a session's EMG and labels as arrays that trials map."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from emgmodels.sessions import Session
from emgmodels.sessions.lag import key_lag
from emgmodels.windows.prompts import prompt_table

META = "recording.json"
FILES = {META, "emg.npy", "labels.npy", "first.npy", "last.npy", "prompts.npy"}
"""What a recording's folder holds; one that holds anything else is not the cache's to remove."""
UNFINISHED = ".converting-"
"""How the names of folders begin that are being written or removed."""


def convert(session: Session, folder: Path, source: Path) -> None:
    """Write a recording's folder in one step: complete, or not at all.

    Args:
        session: what to convert.
        folder: where; it may not hold anything else.
        source: the file that it was read from, to tell people.

    Raises:
        OSError: there is no room, or the folder can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    labels = session.labels()
    scratch = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        with open(scratch / META, "w", encoding="utf-8") as meta:
            # Locked from the beginning: what a killed conversion left can be told from what
            # another process is writing.
            fcntl.flock(meta, fcntl.LOCK_EX)
            _write_emg(session, scratch / "emg.npy")
            np.save(scratch / "labels.npy", labels.label.astype(np.int64))
            np.save(scratch / "first.npy", np.searchsorted(session.time, labels.start, "left"))
            np.save(scratch / "last.npy", np.searchsorted(session.time, labels.start, "right") - 1)
            np.save(scratch / "prompts.npy", prompt_table(labels, session.time))
            lag = key_lag(session)
            values = {
                "name": session.name,
                "user": session.user,
                "has_key_times": labels.has_key_times,
                "remarks": session.remarks(),
                "source": str(source.resolve()),
                "key_lag": None if lag is None else [lag.ms, lag.confidence],
            }
            json.dump(values, meta)
            meta.flush()
            _sync(scratch)
            try:
                scratch.rename(folder)
            except OSError:
                if not folder.is_dir():  # unless another process was first, with the same content
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_emg(session: Session, path: Path) -> None:
    emg = session.emg.reshape(len(session.time), -1)  # (S, B x 16)
    out = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(emg.shape[1], len(emg))
    )
    # A memory map whose page finds no room kills the process by a signal. Taking the room first
    # gives an error that can be told.
    _allocate(path)
    scale = np.float32(session.scale)
    step = 1 << 14  # rows that stay in the cache of a core while they are transposed
    for low in range(0, len(emg), step):
        # Electrode by electrode, since a window is read so: a few long reads instead of many
        # short ones.
        out[:, low : low + step] = emg[low : low + step].T
        if scale != 1:
            out[:, low : low + step] *= scale
    out.flush()


def _allocate(path: Path) -> None:
    """Take a file's room on the disk: a page that finds none later kills the process.

    Raises:
        OSError: there is no room.
    """
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # the file system can't
                raise


def _sync(folder: Path) -> None:
    """Wait until a folder's files are on the disk: what is moved to its place is whole."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
