"""A part of the network of which each hand has its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emgmodels.config import BANDS
from emgmodels.stages.flow import Flow
from emgmodels.stages.stage import Stage


class OwnHands(Stage):
    """Gives the windows of each hand to a copy of its own: of a stage, or of the MLP.

    The hands are windows of a batch, left and right by turns, as where they share one part.

    Args:
        part: what each hand gets a copy of.
    """

    def __init__(self, part: nn.Module) -> None:
        nn.Module.__init__(self)
        self.hands = nn.ModuleList([part, *(copy.deepcopy(part) for _ in range(BANDS - 1))])
        for name in ("width", "left", "right", "stride", "lookahead", "longest"):
            if hasattr(part, name):
                setattr(self, name, getattr(part, name))
        # Not a part of its own: it is that of the first hand.
        object.__setattr__(self, "bridge", getattr(part, "bridge", None))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N B, ...) to (N B, T', D')."""
        hands = zip(self.hands, _apart(x), strict=True)
        return _together([part(own) for part, own in hands])

    def output_length(self, frames: int) -> int:
        """Return the number of output frames for that many input frames."""
        return self._one.output_length(frames)

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one hand's window of that many input frames."""
        return self._one.macs(frames)

    def flow(self) -> Flow:
        """Return what computes it as frames arrive."""
        return _HandsFlow([part.flow() for part in self.hands])  # type: ignore[operator]

    @property
    def _one(self) -> Stage:
        part: Stage = self.hands[0]  # type: ignore[assignment]
        return part


class _HandsFlow(Flow):
    """One flow for each hand; both give as many frames."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.flows = flows

    def push(self, x: Tensor) -> Tensor | None:
        return _joined([flow.push(own) for flow, own in zip(self.flows, _apart(x), strict=True)])

    def finish(self) -> Tensor | None:
        return _joined([flow.finish() for flow in self.flows])


def _apart(x: Tensor) -> tuple[Tensor, ...]:
    return x.unflatten(0, (-1, BANDS)).unbind(1)


def _together(hands: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(hands), 1).flatten(0, 1)


def _joined(hands: Sequence[Tensor | None]) -> Tensor | None:
    found = [each for each in hands if each is not None]
    return _together(found) if found else None
