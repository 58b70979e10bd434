"""Starts Ray quietly on this machine, or connects to a cluster, for the time of a search."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from emgmodels.windows.home import settle_paths
from search.engine.failures import EngineError
from search.engine.ray_patches import few_processes, on_loopback, own_environment

# Recordings are memory-mapped files and never pass through Ray's object store. By default Ray
# would set aside a third of the machine's memory for it.
_OBJECT_STORE_BYTES = 128 * 2**20
_TOKEN = Path("~/.ray/auth_token")
_NICENESS = "RAY_worker_niceness"
"""Ray's own variable, by which a user says how far trials stand back behind other programs."""


@contextlib.contextmanager
def engine(
    address: str | None, cpus_per_trial: float | None, verbose: bool = False
) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster, for the time of a search.

    Args:
        address: a running cluster's address, ``auto`` for the one on this machine; None starts one
            that listens on this machine only and ends with the search.
        cpus_per_trial: what a trial will ask for, so that one fits on a small machine.
        verbose: show Ray's own messages, and what the trials' processes write.

    Raises:
        ValueError: there is no cluster at the address.
        EngineError: Ray cannot be started on this machine.
    """
    if ray.is_initialized():  # by the notebook that calls
        with own_environment():
            yield
        return
    level = "INFO" if verbose else "ERROR"
    quiet: dict[str, Any] = {"logging_level": level, "log_to_driver": verbose}
    if address is None:
        # A worker's working folder is another one, where relative paths would name nothing.
        settle_paths()
        # On a machine with fewer cores than a trial asks for, Ray would never start a trial. So
        # Ray is told of enough cores.
        cores = max(os.cpu_count() or 1, math.ceil(cpus_per_trial or 1))
        quiet |= {"num_cpus": cores, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        quiet |= {"object_store_memory": _OBJECT_STORE_BYTES}
        # Ray's workers would run at nice 15, and any other program that computes leave them a
        # thirtieth of a core: what was measured of the machine before would be wrong by as much.
        if _NICENESS not in os.environ:
            quiet |= {"_system_config": {"worker_niceness": 0}}
    try:
        with contextlib.ExitStack() as patches:
            if address is None:
                patches.enter_context(on_loopback())
                patches.enter_context(few_processes(verbose))
            ray.init(address=address or "local", **quiet)  # not whatever cluster runs here
    except Exception as error:  # Ray's errors have no common kind
        with contextlib.suppress(Exception):
            ray.shutdown()  # what has started already
        if address is not None and isinstance(error, ConnectionError):
            raise ValueError(
                f"--address {address}: no Ray cluster answers there: {error}"
            ) from None
        raise EngineError(_no_start(address, error)) from error
    with contextlib.suppress(OSError):
        _TOKEN.expanduser().chmod(0o600)  # Ray lets everybody read it; with it one may run code
    try:
        with own_environment():
            yield
    finally:
        ray.shutdown()


def _no_start(address: str | None, error: Exception) -> str:
    """Return why Ray did not start, and what to do."""
    why = " ".join(str(error).split()) or type(error).__name__
    if address is not None:
        return f"--address {address}: Ray could not join the cluster: {why}"
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    folder = os.environ.get(name, "/tmp")
    if "AF_UNIX" in why:
        return (
            f"Ray could not be started: {name}: {folder} is too long a path for its sockets "
            f"(107 bytes with their names): set RAY_TMPDIR to a short one, such as "
            f"RAY_TMPDIR=/tmp"
        )
    if isinstance(error, PermissionError):
        return (
            f"Ray could not be started: {why}: set RAY_TMPDIR to a folder that you may write to, "
            f"and see that your home folder lets Ray write ~/.ray"
        )
    return (
        f"Ray could not be started: {why}: see that {folder} and /dev/shm can be written and have "
        f"room, and that processes may listen on 127.0.0.1; --verbose shows Ray's own messages"
    )
