"""Text while EMG arrives, from models whose look-ahead has an end.

``Stream`` takes EMG in chunks of any size. To play a session file as if it were being recorded:

    python -m emgmodels.stream CHECKPOINT SESSION.hdf5
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from emgmodels.reading.stream import Stream

__all__ = ["Stream"]

__getattr__ = offered(__name__, dict.fromkeys(__all__, "emgmodels.reading.stream"))
