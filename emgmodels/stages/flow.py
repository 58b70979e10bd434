"""Layers that take frames as they come: what a model in use carries from chunk to chunk.

A *flow* computes what its layer computes for all frames at once, and gives each output frame as
soon as nothing that is still to come can change it. Frames are (N, T, D) with T of at least 1;
None stands for no frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Flow:
    """A layer without memory; the base of those that have one."""

    def __init__(self, layer: Callable[[Tensor], Tensor]) -> None:
        self.layer = layer

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        return self.layer(x)

    def finish(self) -> Tensor | None:
        """Return the outputs that were waiting for frames that will not come."""
        return None


class Chain(Flow):
    """Flows one after the other."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self.flows = tuple(flows)

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        found: Tensor | None = x
        for flow in self.flows:
            if found is None:
                return None
            found = flow.push(found)
        return found

    def finish(self) -> Tensor | None:
        """Return the outputs that were waiting for frames that will not come."""
        found: Tensor | None = None
        for flow in self.flows:
            ready = None if found is None else flow.push(found)
            found = _joined(ready, flow.finish())
        return found


class Carried(Flow):
    """A layer that carries a state: a recurrence, a count of frames.

    Args:
        layer: maps frames and state to outputs, as many, and the next state.
        state: the first.
    """

    def __init__(self, layer: Callable[[Tensor, Any], tuple[Tensor, Any]], state: Any) -> None:
        self.step, self.state = layer, state

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        found, self.state = self.step(x, self.state)
        return found


class Valid(Flow):
    """A layer whose outputs each come from ``kernel`` inputs, ``stride`` apart, without padding.

    Args:
        layer: gives an output for every ``stride`` inputs that have a whole kernel.
        kernel: inputs of an output; at least the stride.
        stride: inputs from one output to the next.
        dim: axis of time of the input.
    """

    def __init__(
        self, layer: Callable[[Tensor], Tensor], kernel: int, stride: int = 1, dim: int = 1
    ) -> None:
        assert kernel >= stride
        self.layer, self.kernel, self.stride, self.dim = layer, kernel, stride, dim
        self.held: Tensor | None = None

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        held = x if self.held is None else torch.cat([self.held, x], self.dim)
        length = held.shape[self.dim]
        outputs = (length - self.kernel) // self.stride + 1
        if outputs <= 0:
            self.held = held
            return None
        used = outputs * self.stride
        # A view would keep the whole chunk in memory.
        self.held = held.narrow(self.dim, used, length - used).clone()
        return self.layer(held.narrow(self.dim, 0, used - self.stride + self.kernel))


class Padded(Flow):
    """A layer that sees some frames around each and pads them with zeros at both ends itself.

    It is computed again over the frames around the new ones, which is little where its reach is
    short.

    Args:
        layer: output j stands for input j x stride.
        past: inputs before its own that an output depends on.
        future: inputs after its own.
        stride: inputs from one output to the next.
    """

    def __init__(
        self, layer: Callable[[Tensor], Tensor], past: int, future: int, stride: int = 1
    ) -> None:
        self.layer, self.past, self.future, self.stride = layer, past, future, stride
        self.held: Tensor | None = None
        self.start = 0  # frame that ``held`` begins with, a multiple of the stride
        self.given = 0  # outputs so far

    def push(self, x: Tensor) -> Tensor | None:
        """Take the next frames and return the outputs that are final now."""
        held = x if self.held is None else torch.cat([self.held, x], 1)
        final = (self.start + held.shape[1] - self.future - 1) // self.stride + 1
        found = self._outputs(held, final)
        # A multiple of the stride: the layer counts its outputs from the first frame that it is
        # given.
        oldest = max(0, self.given * self.stride - self.past) // self.stride * self.stride
        self.held = held[:, max(0, oldest - self.start) :].clone()
        self.start = max(self.start, oldest)
        return found

    def finish(self) -> Tensor | None:
        """Return the outputs that were waiting for frames that will not come."""
        if self.held is None:
            return None
        return self._outputs(self.held, -(-(self.start + self.held.shape[1]) // self.stride))

    def _outputs(self, held: Tensor, final: int) -> Tensor | None:
        if final <= self.given:
            return None
        first = self.start // self.stride
        found = self.layer(held)[:, self.given - first : final - first]
        self.given = final
        return found


def _joined(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return torch.cat([first, second], 1)
