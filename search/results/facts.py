"""What ``environment.json`` of a run folder says, checked where it is read."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emgmodels.config.yaml_text import read_yaml
from emgmodels.own_code import FOLDER, is_ours
from emgmodels.saying import counted, is_of_people
from emgmodels.scoring import RANKINGS
from emgmodels.sessions.split_file import read_split_file
from search.storage.place import is_uri

SPLIT = "split.yaml"
"""Which sessions a search trained, validated and tests on: emg2qwerty's split file."""

PLANNED = "trials"
"""In ``environment.json``: trials that a search trains at most."""
ASKED = "trials_asked"
"""In ``environment.json``: trials that its space asks for, where they did not fit into its time."""

PERSON_SESSIONS = 3
"""Sessions of a person: one each to learn from, to choose the epoch by, and to be tested on."""


def read_facts(path: Path) -> dict[str, Any]:
    """Return what an ``environment.json`` says; facts that old versions did not write are missing.

    Raises:
        ValueError: it is missing or broken; the message names the file and the key.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{path}: must be a JSON object, such as {{}}, not {_brief(facts)}")
    for key, (is_right, rule) in _RULES.items():
        if key in facts and not is_right(facts[key]):
            raise ValueError(f"{path}: {key}: must be {rule}, not {_brief(facts[key])}")
    return facts


def code_options(run: Path) -> list[str]:
    """Return the option with which a command may import code of its own that a run keeps."""
    code = run / FOLDER
    return ["--allow-code"] if code.is_dir() and not is_ours(code) else []


def training_command(run: Path, inside: bool = False) -> str:
    """Return the command that trains the best of a run again, on the sessions of its search.

    Args:
        run: the run folder.
        inside: as it is typed in the folder itself, so that it stays right where the folder moves.
    """
    data = "DIR"
    options: list[str] = []
    here = Path() if inside else run.absolute()
    with contextlib.suppress(ValueError):
        facts = read_facts(run / "environment.json")
        split = facts.get("split", {})
        if found := _folder_of(split):
            data = found
            if (subject := facts.get("subject")) and not is_of_people(subject):
                options = ["--subject", subject]
            if os.path.isfile(origin := str(split.get("origin", ""))):
                options += ["--split", os.path.abspath(origin)]
    if (run / SPLIT).is_file():  # drawn splits depend on the search's seed
        options = ["--split", str(here / SPLIT)]
    # From another folder, code of one's own runs only where that is asked for.
    if (run / FOLDER).is_dir() and not inside:
        options += ["--allow-code"]
    config = str(here / "best.yaml")
    return shlex.join(["python", "-m", "emgmodels.training", config, "--data", data, *options])


def people_command(run: Path) -> str | None:
    """Return the command that fine-tunes the best of a run to people whom its split holds out.

    None where one of them has too few sessions, see ``PERSON_SESSIONS``, or it holds out nobody.
    """
    if fewest_held_out(run) < PERSON_SESSIONS:
        return None
    data = _folder_of(read_facts(run / "environment.json").get("split", {})) or "DIR"
    words = ["python", "-m", "search.people", str(run), "--data", data]
    return shlex.join([*words, *code_options(run)])


def fewest_held_out(run: Path) -> int:
    """Return the sessions of that user, of those held out for testing, who has the fewest.

    0 where a split holds out nobody.
    """
    if not (run / SPLIT).is_file():
        return 0
    sets = read_split_file(run / SPLIT).dataset
    known = {session.user for session in (*sets.train, *sets.val)}
    held_out = Counter(session.user for session in sets.test if session.user not in known)
    return min(held_out.values(), default=0)


def trials_left_out(facts: Mapping[str, Any]) -> str:
    """Say which trials a search left out as its time was too short; empty where none was."""
    planned, asked = facts.get(PLANNED, 0), facts.get(ASKED, 0)
    if not 0 < planned < asked:
        return ""
    return (
        f"Of {counted(asked, 'trial')}, {counted(asked - planned, 'was', 'were')} left out: "
        f"epochs took so long at that moment that one more might not have ended in the time budget."
    )


def left_out_command(run: Path) -> str | None:
    """Return the command that trains the trials that a search left out; None where it has all.

    It gives them as much time again: of the search's own there may be none left.
    """
    facts = read_facts(run / "environment.json")
    if not trials_left_out(facts):
        return None
    words = ["--resume", str(run), "--add-trials", str(facts[ASKED] - facts[PLANNED])]
    with contextlib.suppress(KeyError, TypeError, ValueError):
        words += ["--time-budget", f"{float(_asked(run)['time_budget']):g}s"]
    return shlex.join(["python", "-m", "search.run", *words, *code_options(run)])


def start_points(run: Path) -> int:
    """Return how many of a search's first trials its space named to start with."""
    given = _asked(run).get("start_with")
    return len(given) if isinstance(given, list) else 0


def _asked(run: Path) -> Mapping[str, Any]:
    """Return the section ``search`` of what was searched; empty where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = read_yaml((run / "space.yaml").read_text(encoding="utf-8"), "space.yaml")["search"]
        return found if isinstance(found, Mapping) else {}
    return {}


def _folder_of(split: Mapping[str, Any]) -> str | None:
    """Return the folder in which all sessions of a split lie, None where it is not known."""
    files = [file for part in ("train", "val", "test") for file in split.get(part, ())]
    if not files or any(map(is_uri, files)):
        return None
    return os.path.commonpath([os.path.dirname(file) for file in files])


def _is_split(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    subsets = [value.get(part, []) for part in ("train", "val", "test")]
    return all(isinstance(files, list) and all(map(_is_text, files)) for files in subsets)


def _is_people(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.get("rank_by") in RANKINGS
        and isinstance(runs := value.get("windows"), list)
        and all(isinstance(run, list) and len(run) == 2 and type(run[1]) is int for run in runs)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _has_numbers(*keys: str) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and value.keys() == set(keys)
        and all(_is_number(each) for each in value.values())
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "split": (_is_split, "an object with lists of session files: train, val, test"),
    "synthetic": (lambda value: isinstance(value, bool), "true or false"),
    "subject": (_is_text, "a text"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    PLANNED: (lambda value: type(value) is int, "a whole number"),
    ASKED: (lambda value: type(value) is int, "a whole number"),
    "resources_per_trial": (
        _has_numbers("cpus", "gpus"),
        "an object with two numbers: cpus, gpus",
    ),
    "emg_seconds": (
        _has_numbers("training", "validation"),
        "an object with two numbers: training, validation",
    ),
    "people": (_is_people, "an object with rank_by, and lists of users and their windows"),
    "storage": (lambda value: value is None or isinstance(value, str), "a URI or null"),
}
"""What others rely on, and the rule that it keeps."""
