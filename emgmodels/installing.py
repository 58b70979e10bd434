"""How a package is added to the Python that runs this: in messages, as it can be pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent


def python_here() -> str:
    """Return the Python that runs this, as it is typed in this folder: ``python`` where it is that.

    A command that is printed has to work when it is pasted, whether or not its environment was
    activated.
    """
    if os.path.abspath(shutil.which("python") or "") == sys.executable or not sys.executable:
        return "python"
    program, here = Path(sys.executable), Path.cwd()
    return shlex.quote(str(program.relative_to(here) if program.is_relative_to(here) else program))


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra of this project, as it is typed in this folder."""
    install = f"{python_here()} -m pip install"
    pins = _PROJECT / "constraints.txt"
    if not pins.is_file():
        # Not from a checkout: pip finds the project among what is installed, and adds the rest.
        return f"{install} {shlex.quote(f'emgsearch[{extra}]')}"
    if Path.cwd() == _PROJECT:
        return f"{install} -c constraints.txt -e '.[{extra}]'"
    return f"{install} -c {shlex.quote(str(pins))} -e {shlex.quote(f'{_PROJECT}[{extra}]')}"
