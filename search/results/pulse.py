"""How far trials are within an epoch: a few bytes in a file for each, while a search runs.

A trial's process reports to the driver once an epoch, which may be minutes. What happens between
is only shown to a person, so it goes a way that costs nothing and may be lost: a folder on the
driver's machine. Trials on other machines do not find the folder, and stay silent.
"""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path
from typing import NamedTuple

_FORMAT = struct.Struct("<id")
_EVERY = 0.3
"""Seconds between two beats of a trial, at least."""


class Beat(NamedTuple):
    """How far a trial is."""

    epoch: int
    """That is being trained; the first is 1."""
    share: float
    """Of its training windows that were seen, from 0 to 1."""


class Pulse:
    """The beats of a search's trials.

    Args:
        folder: where they lie; None and a folder that is not there: nothing is kept.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._is_there = self.folder is not None and self.folder.is_dir()
        self._next = 0.0

    def beat(self, number: int, epoch: int, share: float) -> None:
        """Note how far a trial is, unless that was noted a moment ago."""
        now = time.monotonic()
        if self.folder is None or not self._is_there or now < self._next:
            return
        self._next = now + _EVERY
        with contextlib.suppress(OSError):  # the search is over, or its disk is full
            (self.folder / str(number)).write_bytes(_FORMAT.pack(epoch, share))

    def read(self, number: int) -> Beat | None:
        """Return how far a trial said it is, if it did."""
        if self.folder is None:
            return None
        try:
            return Beat(*_FORMAT.unpack((self.folder / str(number)).read_bytes()))
        except (OSError, struct.error):  # none yet, or it is being written
            return None
