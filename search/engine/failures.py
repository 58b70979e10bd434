"""What goes wrong in trials: what is worth another try, and how it is told.

An error that would come again ends its trial. Where others may have caused it (memory, files, a
process that was killed, a process that hangs) Ray Tune starts the trial again in a new process,
from its last checkpoint, a few times.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

import torch
from ray.tune.experiment import Trial

from search.halving.ending import Ending, Why, ending_of

RETRIES = 2
"""How often a trial is started again."""
# An hour, because converting many hours of EMG on a slow disk comes before the first epoch. Later
# epochs are watched by the longest one seen.
FIRST_EPOCH = 3600.0
"""Seconds that a process has to get ready in, and the first epoch of a search."""


class PassingError(Exception):
    """An error inside a training that may not come again; the message is one line."""


class SearchFailedError(RuntimeError):
    """A search that cannot go on as things are; the message says what to do."""

    exit_code = 1
    """Of a command that ends with it: nothing was given wrongly, and nothing is a bug."""


class EngineError(SearchFailedError):
    """Ray could not be started or reached; the message says why and what to do."""


def may_pass(error: Exception) -> bool:
    """Return whether an error may be gone in a new process, and at another time."""
    # A TypeError would come again. Memory and files depend on the neighbours, and a CUDA error
    # may leave the whole process unusable, so a new process may succeed.
    passing = isinstance(error, MemoryError | OSError) or _is_memory(error) or _is_cuda(error)
    return passing or _is_onednn(error)


def explain(error: Exception) -> Ending:
    """Return why an error ends a training."""
    if isinstance(error, torch.OutOfMemoryError):
        return Ending(Why.GPU_MEMORY)
    if isinstance(error, MemoryError) or _is_memory(error):
        return Ending(Why.MEMORY)
    return Ending(Why.ERROR, message=one_line(error))


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its message."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def last_failure(trial: Trial) -> str:
    """Return what Ray Tune noted when a trial failed last."""
    noted = Path(trial.error_file) if trial.error_file else None
    text = noted.read_text(encoding="utf-8", errors="replace") if noted else ""
    return re.split(r"^Failure # .*\n", text, flags=re.MULTILINE)[-1].strip()


def ending_noted(text: str) -> Ending:
    """Return why a trial ended, from what Ray Tune noted of its failure: text alone."""
    if found := re.search(rf"{PassingError.__name__}: (.*)", text):
        return ending_of(found[1]) or Ending(Why.ERROR, message="unknown")
    if re.search(r"running low on memory|memory monitor|OutOfMemoryError", text):
        return Ending(Why.EVICTED)
    if re.search(r"\bdied\b|\bdead\b", text):
        return Ending(Why.CRASHED)
    return Ending(Why.ERROR, message=text.splitlines()[-1] if text else "unknown")


def is_disk_full(error: BaseException | str) -> bool:
    """Return whether an error, or what was noted of one, comes from a disk without space."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return bool(re.search(r"No space left on device|[Dd]isk quota exceeded", str(error)))


def _is_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _is_cuda(error: Exception) -> bool:
    """Return whether the GPU's state may be broken for everything that this process does next."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def _is_onednn(error: Exception) -> bool:
    """Return whether oneDNN gave up, which it does for want of memory, and does not say so."""
    return bool(re.search("could not (create|execute) a primitive", str(error)))
