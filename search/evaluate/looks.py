"""Which sessions were looked at, and when: ``evaluation.json`` of a run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emgmodels.ctc import BeamSearch
from emgmodels.outputs import write_text
from search.evaluate.evaluation import GREEDY
from search.results.environment import command_line

FILE = "evaluation.json"


def new_look(trials: Sequence[int], search: BeamSearch | None = None) -> dict[str, Any]:
    """Return what the file says of a call, before it has opened a session."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command_line(),
        "trials": list(trials),
        "decoders": [GREEDY, *([search.name] if search else [])],
        "language_model": str(search.language.path) if search and search.language else None,
        "sessions": {},
    }


def looks(run: Path) -> list[dict[str, Any]]:
    """Return the calls that looked at sessions, the first first.

    Raises:
        ValueError: the file is broken.
    """
    path = run / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    # What is no list would be replaced by the next call, and with it what is known of looks.
    if not (isinstance(found, list) and all(isinstance(look, dict) for look in found)):
        raise ValueError(f"{path}: must be a JSON list of objects: move it elsewhere")
    return found


def note_look(run: Path, earlier: Sequence[Mapping[str, Any]], look: Mapping[str, Any]) -> None:
    """Note a call, before its sessions are opened.

    A test set that was looked at stays looked at, even if the program is killed.
    """
    write_text(run / FILE, json.dumps([*earlier, look], indent=2))
