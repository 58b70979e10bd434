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


def mirrored_places(electrodes: int, choice: str = "spaced") -> list[int]:
    """Return for each electrode used of a band the place of the one that mirrors it.

    A wrist's mirror image has the electrodes in reverse order. Of a few around the wrist, each is
    mirrored by the one nearest to that.

    Args:
        electrodes: how many.
        choice: ``electrode_choice`` of the model.
    """
    used = electrode_indices(electrodes, choice)
    backwards = list(range(electrodes))[::-1]
    if choice == "contiguous":
        return backwards
    turned = [backwards[-turn:] + backwards[:-turn] for turn in range(electrodes)]

    def distance(places: list[int]) -> int:
        apart = [(used[place] + used[at] + 1) % BAND_ELECTRODES for at, place in enumerate(places)]
        return sum(min(each, BAND_ELECTRODES - each) for each in apart)

    return min(turned, key=distance)


def band_indices(choice: str) -> list[int]:
    """Return which bands are used by the model's ``electrode_choice``: left is 0, right is 1."""
    return {"left": [0], "right": [1]}.get(choice, list(range(BANDS)))
