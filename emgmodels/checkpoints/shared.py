"""A model as a folder to share: weights as safetensors, and all else beside them as text.

Nothing in it can execute code, and other programs read it without this project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emgmodels.atomic import whole
from emgmodels.checkpoints.exported import carried_state
from emgmodels.outputs import mark_of, write_text
from emgmodels.reading.reader import Reader

WEIGHTS, DESCRIPTION, CARD, CONFIG = "model.safetensors", "config.json", "README.md", "config.yaml"
"""Files of the folder: weights, what reads them, for people, to train it again."""
FOLDER_MARK = mark_of("shared model")
"""In each file, so that a command knows what it may replace."""


def write_folder(reader: Reader, folder: Path) -> None:
    """Write weights and description, which ``emgmodels.load`` reads from the folder."""
    # Here, since a machine that only measures its GPU may lack it.
    from safetensors.torch import save_file

    state = carried_state(reader)
    # Tensors that share memory are refused, and the file has no place for where they lie.
    weights = {name: tensor.contiguous().clone() for name, tensor in state.pop("model").items()}
    state["card"] = json.loads(state["card"])
    with whole(folder / WEIGHTS) as scratch:
        scratch.touch()
        mode = scratch.stat().st_mode
        save_file(weights, scratch, metadata={"format": "pt", "writer": FOLDER_MARK})
        scratch.chmod(mode)  # by itself, only its owner may read what it writes
    text = json.dumps({**state, "writer": FOLDER_MARK}, indent=1, ensure_ascii=False)
    write_text(folder / DESCRIPTION, text + "\n")


def read_folder(path: Path) -> dict[str, Any]:
    """Return what the folder of a weights file holds, as a file of ``--to torch`` would.

    Args:
        path: its ``model.safetensors``.

    Raises:
        ValueError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    beside = path.with_name(DESCRIPTION)
    try:
        state = json.loads(beside.read_text(encoding="utf-8"))
        card = json.dumps(state["card"])
    except OSError as error:
        raise ValueError(
            f"{beside}: cannot be read: {error.strerror}: copy the folder whole"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{beside}: does not describe a model of emgmodels.export") from None
    try:
        return {**state, "card": card, "model": load_file(path)}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: is cut off or damaged: {error}: copy it again") from None
