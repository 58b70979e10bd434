"""What the sessions of a search allow an architecture to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emgmodels.config import SAMPLE_RATE, Config
from emgmodels.saying import counted
from emgmodels.windows.prompts import longest_prompt
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording, frames_for_keys

if TYPE_CHECKING:
    from emgmodels.network.summary import Summary


@dataclass(frozen=True)
class Sessions:
    """How long sessions are and how densely keys follow each other in them."""

    shortest_ms: float
    """The shortest session (ms)."""
    longest_ms: float
    """The longest session to train on in windows (ms); infinite where all count by prompts."""
    frames: int
    """Frames that CTC needs for the keys of 95 % of the windows of 4 s."""
    prompt_ms: float = 0.0
    """What 95 % of the prompts of sessions without key times take at most (ms); 0: no prompts."""
    longest_prompt_ms: float = 0.0
    """The longest prompt (ms)."""

    def objection(self, config: Config, summary: Summary) -> str | None:
        """Return why an architecture cannot be trained on these sessions, or None."""
        training = config.training
        window = 1000 * training.window_seconds
        if window > self.longest_ms:
            return (
                f"windows of {window:g} ms, and the longest training session has "
                f"{self.longest_ms:,.0f} ms: lower training.window_seconds"
            )
        reach = summary.lookahead_ms
        # A stage that sees its whole window has no such bound: it takes what is there.
        if math.isfinite(reach) and reach > self.shortest_ms:
            return (
                f"{reach:,.0f} ms of look-ahead, and the shortest session has "
                f"{self.shortest_ms:,.0f} ms: take fewer layers or smaller kernels"
            )
        context = 1000 * (training.past_seconds + training.future_seconds)
        if self.prompt_ms and self.prompt_ms + context > summary.longest_ms:
            return (
                f"prompts of {self.prompt_ms + context:,.0f} ms with their context, and a stage "
                f"takes {summary.longest_ms:,.0f} ms at once: take a larger hop, or sessions with "
                f"key times"
            )
        frames = round(summary.frame_rate * VALIDATION_SECONDS)
        # CTC gives at most one key for each frame, and needs a blank between two equal ones.
        if frames < self.frames:
            return (
                f"{counted(frames, 'frame')} for a window of {VALIDATION_SECONDS:g} s, and one "
                f"window in "
                f"twenty has keys for {self.frames} or more, which CTC could not tell apart: take "
                f"a smaller hop or stride"
            )
        return None


def limits_of(train: Sequence[Recording], val: Sequence[Recording]) -> Sessions:
    """Return what the recordings of a search allow."""
    everything = [*train, *val]
    in_windows = [recording.samples for recording in train if recording.has_key_times]
    return Sessions(
        shortest_ms=1000 * min(recording.samples for recording in everything) / SAMPLE_RATE,
        longest_ms=1000 * max(in_windows, default=math.inf) / SAMPLE_RATE,
        frames=frames_for_keys(everything),
        # All models of a search must be scored on almost the same prompts. So one that cannot
        # take 95 % of them is refused.
        prompt_ms=1000 * longest_prompt(everything, share=0.95),
        longest_prompt_ms=1000 * longest_prompt(everything),
    )
