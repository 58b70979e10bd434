"""What every stage is: a module that takes and gives frames, and says what it needs of them."""

from __future__ import annotations

import math

from torch import nn

from emgmodels.config import StageConfig
from emgmodels.stages.flow import Chain, Flow


class Stage(nn.Module):
    """What every stage between MLP and head has in common.

    A stage is built from the width that it is offered and its own configuration. Where it wants
    another width, or needs a multiple of something, it works at the next multiple up, reached by a
    linear *bridge*.

    Output frame j stands for input frame ``left + j * stride``.

    One of the user's own names the class of its settings in ``settings``; those of this project
    have theirs in ``emgmodels.config``.

    Attributes:
        settings: class of its configuration, which has ``layers`` and more.
        width: features of the stage's output, D'.
        left: input frames consumed at the beginning.
        right: input frames consumed at the end.
        stride: input frames from one output frame to the next.
        lookahead: input frames after its own that an output frame depends on; infinite where all
            are seen.
        longest: input frames that it can take at once.
        bridge: linear map from the offered width to the stage's own, or None.
    """

    settings: type[StageConfig] = StageConfig
    width: int
    left: int = 0
    right: int = 0
    stride: int = 1
    lookahead: float = 0
    longest: float = math.inf

    def __init__(self, width: int, multiple_of: int = 1, wanted: int | None = None) -> None:
        super().__init__()
        # The next multiple up, so that any order of any stages can be built. No size that follows
        # from another has to be configured.
        self.width = math.ceil((wanted or width) / multiple_of) * multiple_of
        self.bridge = nn.Linear(width, self.width) if self.width != width else None

    def output_length(self, frames: int) -> int:
        """Return the number of output frames for that many input frames, at least 0."""
        # The stage's own answer: nothing outside the model does arithmetic with lengths.
        return max(0, -(-(frames - self.left - self.right) // self.stride))

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many input frames.

        Raises:
            ValueError: the stage does not say.
        """
        raise ValueError(
            f"{type(self).__name__} does not say what it costs: give it a method macs(frames)"
        )

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive, in evaluation mode.

        Raises:
            ValueError: it depends on more than can be carried: on the window's end, or on a past
                without limit. The message says which setting would stream.
        """
        raise ValueError(
            "it has no flow: take another stage, or write one of emgmodels.stages.flow"
        )

    def _bridged(self, *flows: Flow) -> Chain:
        """Return flows behind the bridge."""
        return Chain(flows if self.bridge is None else (Flow(self.bridge), *flows))
