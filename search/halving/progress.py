"""What is known of one trial of successive halving: plain values, saved with the trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search.halving.ending import ending_of


class State(StrEnum):
    """Where a trial stands in the search."""

    TRAINING = "training"
    """Running, or waiting for a slot."""
    PAUSED = "paused"
    """At a rung, holding a checkpoint and no slot."""
    STOPPED = "stopped"
    """Ended at a rung: too many others were better."""
    FINISHED = "finished"
    """Trained to the last epoch."""
    DIVERGED = "diverged"
    """Ended by a metric that is not finite."""
    FAILED = "failed"
    """Ended by an error."""


@dataclass
class Progress:
    """What is known of one trial; plain values, so that it is saved and restored with the trial."""

    order: int
    """Trials are numbered as they are added."""
    target: int = 0
    """Index of the rung it trains towards, or stands at; len(rungs): the last epoch."""
    epoch: int = 0
    """Epochs trained."""
    cost: float = 0.0
    """What they cost, in what rungs count: their number, seconds or multiply-accumulates."""
    cer: float = math.inf
    """Lowest validation CER so far (%)."""
    loss: float = math.inf
    """Lowest validation CTC loss so far."""
    scores: list[float] = field(default_factory=list)
    """What was compared at each rung it reached."""
    costs: list[float] = field(default_factory=list)
    """What is to be low beside the score, known before it trains."""
    state: State = State.TRAINING
    ended: dict[str, Any] = field(default_factory=dict)
    """Why it ended: the facts of its ``Ending``; empty while it has not."""

    @classmethod
    def restored(cls, known: Mapping[str, Any]) -> Progress:
        """Return what was saved with a trial; an older version saved a sentence for ``ended``."""
        ending = ending_of(known.get("ended") or known.get("why"))
        # An older version knew no other cost than epochs, and saved none.
        own = {"cost": known["epoch"]}
        own |= {name: value for name, value in known.items() if name != "why"}
        own |= {"state": State(known["state"]), "ended": ending.facts if ending else {}}
        return cls(**own)
