"""Text while EMG arrives, from models whose look-ahead has an end.

``Stream`` takes EMG in chunks of any size. To play a session file as if it were being recorded:

    python -m emgmodels.stream CHECKPOINT SESSION.hdf5
"""

from emgmodels.stream.live import Stream

__all__ = ["Stream"]
