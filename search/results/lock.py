"""Says which run folders a search is running in: it holds a lock that ends with its process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emgmodels.atomic import unlinked

_LOCK = ".running"


@contextmanager
def running(run: Path) -> Iterator[None]:
    """Mark a run folder as that of a running search, until it ends or its process dies.

    Where the file system knows no locks, nothing marks it.

    Raises:
        ValueError: a search runs in it already.
        OSError: its lock can't be written, or is a link.
    """
    with open(run / _LOCK, "a", opener=unlinked) as lock:
        try:
            # The kernel frees the lock with the process, however that ends. A file with a process
            # number would outlive a kill.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{run}: its search is running already") from None
        except OSError:
            pass
        yield


def is_running(run: Path) -> bool:
    """Return whether a search runs in a run folder, as far as its file system can tell."""
    try:
        with open(run / _LOCK) as lock:
            # Shared, so that two programs that look at the same time do not take each other for
            # the search.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
