"""State-space stage: S4D, a linear recurrence computed as one long convolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emgmodels.config import S4Config
from emgmodels.stages.flow import Carried, Flow
from emgmodels.stages.stage import Stage

STEP_RANGE = (1e-3, 1e-1)
"""Initial step sizes: features remember from about 10 to 1000 frames."""
_BLOCK = 2048


class DiagonalStateSpace(nn.Module):
    """``x' = A x + u, y = Re(C x) + D u`` of each feature, discretised with its own step.

    A is diagonal with the initialisation S4D-Lin of Gu et al. 2022 (arXiv:2206.11893), B is one
    and part of C, and the discretisation is zero-order hold. Run over a window it is a convolution
    with a kernel as long as the window, by FFT.

    Args:
        width: features.
        states: real states of each; half as many conjugate pairs.
    """

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        pairs = states // 2
        low, high = (math.log(step) for step in STEP_RANGE)
        self.log_step = nn.Parameter(torch.rand(width) * (high - low) + low)
        self.log_decay = nn.Parameter(torch.full((width, pairs), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(pairs)).repeat(width, 1))
        self.output = nn.Parameter(torch.randn(width, pairs, 2) * math.sqrt(0.5))  # C
        self.skip = nn.Parameter(torch.randn(width))  # D

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, T) to (N, D, T); an output depends on no later input."""
        frames = x.shape[-1]
        kernel = self.kernel(frames).to(x.dtype)
        # Twice the length, or the end of the window would wrap around to its beginning.
        size = 2 * frames
        y = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(kernel, size), size)
        return y[..., :frames] + x * self.skip[:, None]

    def step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the outputs of the next (N, D, T) inputs, and the (N, D, pairs) state after them.

        Args:
            x: inputs.
            state: complex state after the inputs before; None: there were none.
        """
        scaled, output = self.recurrence()
        factor = scaled.exp()
        if state is None:
            state = factor.new_zeros(x.shape[0], *factor.shape)
        outputs = []
        # Frame by frame: for the few frames of a chunk this is four times as fast as short
        # convolutions.
        for frame in x.unbind(-1):
            state = factor * state + frame[..., None]
            outputs.append(2 * (state * output).real.sum(-1))
        return torch.stack(outputs, -1) + x * self.skip[:, None], state

    def kernel(self, frames: int) -> Tensor:
        """Return the (D, T) response of each feature to an impulse."""
        scaled, output = self.recurrence()
        within = torch.arange(min(frames, _BLOCK), device=scaled.device)
        # In blocks, because all pairs times all frames of a session would not fit into memory.
        response = (scaled[..., None] * within).exp()  # (D, pairs, T of a block)
        blocks = [
            2 * torch.einsum("dp,dpt->dt", output * (scaled * start).exp(), response).real
            for start in range(0, frames, _BLOCK)
        ]
        return torch.cat(blocks, dim=-1)[:, :frames]

    def recurrence(self) -> tuple[Tensor, Tensor]:
        """Return (D, pairs) logarithms of the factor from frame to frame, and output weights."""
        rate = torch.complex(-self.log_decay.exp(), self.frequency)
        scaled = rate * self.log_step.exp()[:, None]
        return scaled, torch.view_as_complex(self.output) * torch.expm1(scaled) / rate


class S4Layer(nn.Module):
    """Normalisation, state space, gated linear unit, skip connection."""

    def __init__(self, width: int, config: S4Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.forwards = DiagonalStateSpace(width, config.states)
        self.backwards = DiagonalStateSpace(width, config.states) if config.bidirectional else None
        self.mix = nn.Sequential(
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, 2 * width),
            nn.GLU(),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        inputs = self.norm(x).transpose(1, 2)  # (N, D, T)
        y = self.forwards(inputs)
        if self.backwards is not None:
            y = y + self.backwards(inputs.flip(-1)).flip(-1)
        return x + self.mix(y.transpose(1, 2))

    def flow(self) -> Flow:
        """Return what computes the layer as frames arrive."""
        if self.backwards is not None:
            raise ValueError("it also runs from the end: train it with bidirectional: false")
        return Carried(self._step, None)

    def _step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        y, state = self.forwards.step(self.norm(x).transpose(1, 2), state)
        return x + self.mix(y.transpose(1, 2)), state


class S4Stage(Stage):
    """A stack of S4D blocks."""

    def __init__(self, width: int, config: S4Config) -> None:
        super().__init__(width, wanted=config.width)
        self.lookahead = math.inf if config.bidirectional else 0
        self.directions = 2 if config.bidirectional else 1
        self.states = config.states
        self.layers = nn.ModuleList(S4Layer(self.width, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D')."""
        x = self.bridge(x) if self.bridge is not None else x
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        layers = [layer.flow() for layer in self.layers if isinstance(layer, S4Layer)]
        return self._bridged(*layers, Flow(self.norm))

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window, run as the recurrence that it is.

        A conjugate pair of states is one complex product and the real part of another: 6.
        """
        bridge = frames * self.bridge.weight.numel() if self.bridge is not None else 0
        recurrence = self.directions * self.width * self.states * 3
        return bridge + frames * len(self.layers) * (recurrence + 2 * self.width**2)
