"""What a result depends on beside its configuration: versions, hardware, the command."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from search.storage import redact

_ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, Any]:
    """Return what a result depends on beside its configuration."""
    import torch  # only a search asks, and has loaded it

    # Those on which figures depend; the whole list of installed packages would hide them.
    packages = ("emgsearch", "ray", "torch", "optuna", "numpy", "pyarrow", "h5py", "pydantic")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        # With the time zone: runs are compared between machines.
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command_line(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in packages},
        "commit": _commit(),
        "source": source_hash(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
    }


def command_line() -> list[str]:
    """Return the command that runs as it was typed, without secrets: ``python -m search.run ...``.

    Python keeps the file of a module that ``-m`` ran in ``sys.argv``, and its name elsewhere.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        begin = ["python", "-m", spec.name.removesuffix(".__main__")]
    else:
        begin = [Path(sys.argv[0]).name]
    return [*begin, *map(redact, sys.argv[1:])]


def source_hash() -> str:
    """Return a hash of this program's source, which tells it where there is no commit to name."""
    source = hashlib.blake2b(digest_size=4)
    for package in ("emgmodels", "search"):
        # Sorted, since file systems list files in different orders, and with names, so that a
        # moved file changes the hash.
        for path in sorted((_ROOT / package).rglob("*.py")):
            source.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return source.hexdigest()


def version(package: str) -> str | None:
    """Return the installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    try:
        found = subprocess.run(
            # "--dirty" says if the commit is not all that ran.
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    # Installed from a wheel or on a cluster there is no repository. The hash of the source tells
    # versions apart there.
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
