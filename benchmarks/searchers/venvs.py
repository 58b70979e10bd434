"""Virtual environments of other libraries: made once, with pinned versions."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Library:
    """A library that does not stand beside this project's own dependencies.

    Attributes:
        name: of its environment.
        module: the module that drives it.
        players: searchers in it, by name.
        packages: what pip installs, pinned; each tuple by a call of its own.
        repeats: draws of each table at most, where a suggestion takes long.
    """

    name: str
    module: str
    players: tuple[str, ...]
    packages: tuple[tuple[str, ...], ...]
    repeats: int = 1000


_SYNE_TUNE = (("syne-tune[gpsearchers,kde]==0.13.0",),)
LIBRARIES = (
    Library(
        "syne-tune",
        "benchmarks.searchers.syne",
        ("Syne Tune: ASHA by promotion", "Syne Tune: PASHA", "Syne Tune: BOHB"),
        _SYNE_TUNE,
    ),
    Library(
        "syne-tune",
        "benchmarks.searchers.syne",
        ("Syne Tune: MOBSTER", "Syne Tune: DyHPO"),
        _SYNE_TUNE,
        repeats=10,
    ),
    Library(
        "smac",
        "benchmarks.searchers.smac_mf",
        ("SMAC: multi-fidelity",),
        (("smac==2.4.1",),),
        repeats=10,
    ),
    Library(
        "neps",
        "benchmarks.searchers.neps_bands",
        ("NePS: PriorBand", "NePS: asynchronous Hyperband"),
        # torch first, as everywhere: NePS alone would bring one for GPUs.
        (("torch==2.13.0",), ("neural-pipeline-search==0.17.0",)),
        repeats=10,
    ),
)
"""Those that can be played, in pinned versions."""


def python_of(library: Library, folder: Path) -> Path:
    """Return the interpreter of a library's environment, which is made if there is none.

    Args:
        library: the library.
        folder: where environments stand.

    Raises:
        OSError: pip could not install it.
    """
    home = folder / library.name
    python, ready = home / "bin" / "python", home / "ready"
    wanted = repr(library.packages)
    if ready.is_file() and ready.read_text() == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    for packages in library.packages:
        command = [str(python), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise OSError(f"{library.name}: {' '.join(packages)}: {last}")
    ready.write_text(wanted)
    return python


def alone() -> dict[str, str]:
    """Return the environment variables of another interpreter that runs these benchmarks."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **own}


def run_in(python: Path, *command: str) -> None:
    """Run a module of the benchmarks by another interpreter, on one thread.

    Raises:
        OSError: it failed.
    """
    done = subprocess.run(
        [str(python), "-m", *command],
        env=alone(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise OSError(f"{command[2] if len(command) > 2 else command[0]}: {last}")
