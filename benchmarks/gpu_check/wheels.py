"""Collects the wheels that a bare machine without network lacks."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from rich.console import Console

NEEDED = ("pydantic", "rapidfuzz", "text-unidecode", "typer", "rich", "pyyaml")
"""What is imported beside torch, numpy, h5py and pyarrow, which such machines have."""
FOR_SEARCH = ("ray", "optuna", "tensorboardx")
PRESENT = {"torch", "numpy", "h5py", "pyarrow", "pandas", "setuptools", "packaging", "tensorboard"}
"""Taken to be there already, with what they need."""
_PLATFORMS: tuple[str, ...] = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_24",
    "manylinux_2_17",
)
_PLATFORMS += ("manylinux2014", "manylinux2010", "manylinux1")


def collect(folder: Path, python: str, *, search: bool, console: Console) -> None:
    """Download wheels for another machine's Python, in the versions that are installed here.

    Args:
        folder: where to.
        python: such as ``3.12``.
        search: with Ray and Optuna, of which Ray alone has about 80 MB.
        console: where to tell how they are installed there.

    Raises:
        ValueError: pip found no wheel for that Python.
    """
    names = needed([*NEEDED, *(FOR_SEARCH if search else ())], python)
    pins = [f"{name}=={metadata.version(name)}" for name in names]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
    command += ["--implementation", "cp", "--python-version", python, "-d", str(folder)]
    for name in _PLATFORMS:
        command += ["--platform", f"{name}_x86_64"]
    done = subprocess.run([*command, *pins], capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip().rpartition("\n")[2]
        raise ValueError(f"--python {python}: pip found no wheels for it: {told}")
    size = sum(path.stat().st_size for path in folder.glob("*.whl"))
    console.print(f"{len(names)} wheels in {folder}, {size / 1e6:.0f} MB. On the other machine:")
    console.print(
        f"  python -m pip install --no-index --no-deps --target site {folder}/*.whl\n"
        f"  PYTHONPATH=site python -m benchmarks gpu-check{' --search' if search else ''}",
        soft_wrap=True,
    )


def needed(names: list[str], python: str) -> list[str]:
    """Return packages and all that they need on Linux under a Python, as far as it is not there."""
    found: list[str] = []
    waiting = list(names)
    setting = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    setting |= {"sys_platform": "linux", "platform_system": "Linux"}
    while waiting:
        name = waiting.pop(0).lower().replace("_", "-")
        if name in found or name in PRESENT:
            continue
        found.append(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(setting):
                waiting.append(requirement.name)
    return found
