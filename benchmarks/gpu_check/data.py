"""Recordings that the check writes for itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import data
from benchmarks.gpu_check.check import Check
from emgmodels.synthetic.writing import SHORTEST, write_subject
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import Recording


def noise(check: Check, minutes: float) -> list[Recording]:
    """Return a session of noise with keys at an even pace; what times need no more than."""
    return prepare(data.sessions(1, 0.5 if check.short else minutes))


def typed(check: Check, sessions: int, minutes: float) -> list[Recording]:
    """Return sessions of a synthetic typist, from which something can be learnt."""
    return prepare(typed_files(check, sessions, minutes))


def typed_files(check: Check, sessions: int, minutes: float) -> Sequence[Path]:
    """Return their files, kept for the check's other items."""
    minutes = SHORTEST if check.short else minutes
    return write_subject(check.scratch / f"sessions-{minutes:g}min", sessions, minutes)
