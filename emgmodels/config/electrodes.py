"""Which electrodes and bands a choice means."""

from __future__ import annotations

from emgmodels.config import (
    BAND_ELECTRODES,
    BANDS,
)


def electrode_indices(electrodes: int, choice: str = "spaced") -> list[int]:
    """Return which electrodes of a band of 16 are used, the first among them.

    Args:
        electrodes: how many.
        choice: ``electrode_choice`` of the model: neighbours if ``contiguous``, else evenly spaced.
    """
    if choice == "contiguous":
        return list(range(electrodes))
    # Always with the first electrode, so that 4 of them are among the 8, and these among the 16.
    return [round(i * BAND_ELECTRODES / electrodes) for i in range(electrodes)]


def band_indices(choice: str) -> list[int]:
    """Return which bands are used by the model's ``electrode_choice``: left is 0, right is 1."""
    return {"left": [0], "right": [1]}.get(choice, list(range(BANDS)))
