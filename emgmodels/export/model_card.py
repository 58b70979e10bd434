"""The model card of a shared model: what a person should know, as Hugging Face's hub reads it."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from emgmodels.bootstrap import cer_intervals
from emgmodels.checkpoints.shared import CONFIG, FOLDER_MARK
from emgmodels.checkpoints.weights import read_state
from emgmodels.config import write_yaml
from emgmodels.config.own import code_of
from emgmodels.network.summary import describe, stream_objection
from emgmodels.notation import notation
from emgmodels.reading.reader import Reader
from emgmodels.saying import counted, is_of_people, whose
from emgmodels.scoring import Scoring
from emgmodels.training.own_sessions import threads_given

_SYNTHETIC = "The typist is synthetic: its error rates say nothing about people."
_OF_USERS = {
    "mean_user": "Validation has several users, and the figure is the mean of their CERs.\n",
    "worst_user": "Validation has several users, and the figure is of the one read worst.\n",
}
"""What a search over people ranks by."""
_OWN_CODE = """
The model needs code of its author's own, which lies in `code/` and in `config.json`. Read it first:
`allow_code=True` and `--allow-code` run it.
"""


def model_card(reader: Reader, checkpoint: Path, name: str, licence: str | None) -> str:
    """Return the card: front matter in YAML, then Markdown.

    Args:
        reader: the model.
        checkpoint: its file; of a training's the interval of its CER is known, and of one in a run
            folder the command of its search.
        name: of the folder.
        licence: identifier such as ``cc-by-4.0``; None: not stated.
    """
    facts = _facts_of(checkpoint)
    values = _values(reader, checkpoint, facts)
    front = write_yaml(_front(reader, name, licence, facts))
    by = scoring.by if (scoring := _scoring(facts)) else ""
    # Whoever loads it has not seen the code yet, and is to decide.
    allowed = ", allow_code=True" if code_of(reader.config) else ""
    table = "\n".join(f"| {label} | {value} |" for label, value in values)
    return f"""---
{front}---

# {name}

Reads typed keys from electromyography (EMG) of both wrists: 2 bands of 16 electrodes at 2 kHz.
{_SYNTHETIC if facts.get("synthetic") else ""}

| | |
| --- | --- |
{table}

CER is 100 x (insertions + deletions + substitutions) / characters typed, summed before dividing.
{_OF_USERS.get(by, "")}It was measured on the validation sessions, which also chose the epoch and
the model. So it flatters the model.

```python
import emgmodels

reader = emgmodels.load("{name}"{allowed})  # where this folder is
text = reader(emg)  # (samples, 2, 16), left band first
```

{_OWN_CODE if allowed else ""}
## How it was trained

{_training(facts)}

`{CONFIG}` has the architecture and all settings of the training. To train it again, from this
folder, on session files in DIR{_divided(facts)}:

```
python -m emgmodels.training {CONFIG} --data DIR{_options(facts, bool(allowed))}
```

<!-- {FOLDER_MARK} -->
"""


def _options(facts: dict[str, Any], has_code: bool) -> str:
    """Return what else the command that trains the model again needs, with a space before it."""
    options = ["--split", "SPLIT"] if is_of_people(facts.get("subject")) else []
    if (threads := threads_given(facts)) is not None:  # as many as it was trained with
        options += ["--threads", str(threads)]
    options += ["--allow-code"] if has_code else []
    return "".join(f" {option}" for option in options)


def _divided(facts: dict[str, Any]) -> str:
    return ", divided by a split file SPLIT" if is_of_people(facts.get("subject")) else ""


def _front(reader: Reader, name: str, licence: str | None, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the front matter, by the hub's keys."""
    front: dict[str, Any] = {"library_name": "emgsearch", "license": licence or "other"}
    if licence is None:
        front["license_name"] = "not-stated"
    front |= {"tags": ["emg", "ctc", "typing", "wrist"], "metrics": ["cer"]}
    if reader.origin.val_cer is not None:
        kind = "synthetic" if facts.get("synthetic") else "emg2qwerty"
        dataset = {"name": _data_name(facts), "type": kind, "split": "validation"}
        result = {
            "task": {"type": "other", "name": "typing from EMG"},
            "dataset": dataset,
            "metrics": [{"type": "cer", "value": round(reader.origin.val_cer, 2)}],
        }
        front["model-index"] = [{"name": name, "results": [result]}]
    return front


def _values(reader: Reader, checkpoint: Path, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the table says: a label and a value a row."""
    origin, summary = reader.origin, describe(reader.config.model)
    lookahead = summary.lookahead_ms
    objection = stream_objection(reader.config.model)
    live = f"{lookahead:g} ms" if math.isfinite(lookahead) else "the whole window"
    live += f"; {objection}" if objection else ", so it reads live"
    return [
        ("architecture", f"`{notation(reader.config.model)}`"),
        ("parameters", f"{summary.parameters:,}"),
        ("data", _data_name(facts)),
        ("trained on", f"{counted(len(origin.train), 'session')}: {_listed(origin.train)}"),
        ("validated on", f"{counted(len(origin.val), 'session')}: {_listed(origin.val)}"),
        ("validation CER", _cer(reader, checkpoint, _scoring(facts))),
        ("decoding", "greedy, in windows of 4 s; whole prompts where keys have no times"),
        ("look-ahead", live),
    ]


def _scoring(facts: dict[str, Any]) -> Scoring | None:
    """Return whose each validation window is, of what is known of a search over people."""
    try:
        return Scoring.in_facts(facts)
    except (KeyError, TypeError, ValueError):  # of a file that came with the model
        return None


def _cer(reader: Reader, checkpoint: Path, scoring: Scoring | None) -> str:
    """Return the CER with its interval over validation windows, as far as they are known."""
    origin = reader.origin
    if origin.val_cer is None:
        return "unknown"
    text = f"{origin.val_cer:.2f} %"
    windows = read_state(checkpoint).get("best_windows") if checkpoint.suffix == ".pt" else None
    if windows is not None and len(windows):
        edits, characters = np.asarray(windows, dtype=np.int64).T
        known = scoring if scoring and len(scoring.of_window) == len(edits) else None
        low, high = cer_intervals(edits[None], characters, scoring=known)[0].tolist()
        users = f"{counted(len(known.names), 'user')} and their " if known else ""
        text += f", 95 % bootstrap interval over {users}{counted(len(edits), 'window')} "
        text += f"{low:.1f} to {high:.1f} %"
    return f"{text}, after epoch {origin.epoch}"


def _facts_of(checkpoint: Path) -> dict[str, Any]:
    """Return what the run folder of a checkpoint says of its search; empty where it has none."""
    try:
        facts = json.loads((checkpoint.absolute().parent.parent / "environment.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _data_name(facts: dict[str, Any]) -> str:
    if facts.get("synthetic"):
        return "a synthetic typist of emgmodels.synthetic"
    subject = facts.get("subject")
    if not subject:
        return "session files"
    rest = ", those kept for testing included" if is_of_people(subject) else ""
    return f"session files of {whose(subject)}{rest}"


def _training(facts: dict[str, Any]) -> str:
    """Return how the search was started, where that is known."""
    command = facts.get("command")
    if not isinstance(command, list) or not command:
        return "It is not known which command trained it."
    return f"By a search:\n\n```\n{shlex.join(map(str, command))}\n```"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "unknown"
