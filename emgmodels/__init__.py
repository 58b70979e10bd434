"""Everything about the model: sessions, features, architectures, CTC, training.

This package stands alone: it imports neither Ray nor ``search``. A trained model is one call away:

    reader = emgmodels.load("best.pt")
    text = reader(emg)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emgmodels.reader import Reader

__all__ = ["load"]


def load(path: str | Path, device: str = "cpu") -> Reader:
    """Return a trained model that reads text from EMG; see ``reader.Reader``.

    Args:
        path: a training's checkpoint (its best epoch is taken), a file of ``emgmodels.export``, or
            a checkpoint of emg2qwerty's baseline.
        device: where to compute.

    Raises:
        ValueError: the file is missing or is none of these.
    """
    from emgmodels import reader

    return reader.load(path, device)
