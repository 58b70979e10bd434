"""Weight and bonus of a language model, found on validation sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from emgmodels.ctc import BeamSearch
from emgmodels.metrics import EditCounts
from emgmodels.network.network import Network
from emgmodels.reading.sessions import STITCHED, Emissions, emit
from emgmodels.windows.recording import Recording
from search.results.record import TrialRecord

_STEPS = ((0.8, 1.0), (0.4, 0.5), (0.2, 0.25))
"""By how much weight and bonus are moved, coarse to fine."""
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


def tune(
    emissions: Sequence[Emissions],
    start: BeamSearch,
    said: Callable[[BeamSearch, float], None] = lambda search, cer: None,
) -> tuple[BeamSearch, float]:
    """Return the search with the lowest CER that a pattern search finds, and that CER (%).

    Weight and bonus are moved one at a time, to wherever it is lower, by ever smaller steps (Hooke
    and Jeeves 1961): about twenty decodings of all emissions. Those of validation are what it is
    for; a CER found so is not to be reported for the same sessions.

    Args:
        emissions: of sessions, stitched.
        start: where to begin.
        said: is told of each search that was tried, and its CER (%).
    """
    known: dict[tuple[float, float], float] = {}

    def cer(at: tuple[float, float]) -> float:
        # A pattern search comes back to where it was, and each decoding takes seconds to minutes.
        if at not in known:
            search = replace(start, weight=at[0], bonus=at[1])
            edits = (found.read(search).edits for found in emissions)
            known[at] = sum(edits, EditCounts()).cer
            said(search, known[at])
        return known[at]

    best = (start.weight, start.bonus)
    for weight_step, bonus_step in _STEPS:
        moved = True
        while moved:
            moved = False
            for along, across in _DIRECTIONS:
                # A negative weight would prefer unlikely text. Rounded, so that equal places are
                # equal keys.
                weight = max(0.0, round(best[0] + along * weight_step, 3))
                beside = (weight, round(best[1] + across * bonus_step, 3))
                if cer(beside) < cer(best):
                    best, moved = beside, True
    return replace(start, weight=best[0], bonus=best[1]), cer(best)


def validation_emissions(
    trial: TrialRecord, model: Network, recordings: Iterable[Recording]
) -> list[Emissions]:
    """Return what a trial's model makes of whole validation sessions."""
    return [emit(model, each, trial.config.training, STITCHED) for each in recordings]
