"""Everything about the model: sessions, features, architectures, CTC, training.

This package stands alone: it imports neither Ray nor ``search``. A trained model is one call away:

    reader = emgmodels.load("best.pt")
    text = reader(emg)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emgmodels.reader import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import ``reader.load`` when it is asked for, and PyTorch with it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from emgmodels import reader

    return reader.load
