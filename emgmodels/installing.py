"""How a package is added to the Python that runs this: in messages, as it can be pasted."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent


def check_python() -> None:
    """End a command, with what to do, where the Python that runs it has none of the packages."""
    # So stands ``python -m`` until the module that it names begins.
    if sys.argv[:1] != ["-m"] or importlib.util.find_spec("typer") is not None:
        return
    here = os.path.relpath(_PROJECT / ".venv")
    remedy = f"source {shlex.quote(os.path.join(here, 'bin', 'activate'))}"
    if not os.path.isdir(here):
        remedy = f"make install sets up .venv; then {remedy}"
    print(f"error: {sys.executable} lacks packages that this needs: {remedy}", file=sys.stderr)
    raise SystemExit(2)


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
