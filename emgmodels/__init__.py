"""Everything about the model: sessions, features, architectures, CTC, training.

This package stands alone: it imports neither Ray nor ``search``. A trained model is one call away:

    reader = emgmodels.load("best.pt")
    text = reader(emg)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.installing import check_python
from emgmodels.lazy import offered

check_python()

if TYPE_CHECKING:
    from emgmodels.checkpoints.loading import load

__all__ = ["load"]

__getattr__ = offered(__name__, dict.fromkeys(__all__, "emgmodels.checkpoints.loading"))
