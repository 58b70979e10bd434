"""CTC on what stages in the middle of the encoder put out (Lee and Watanabe 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from emgmodels.charset import NUM_CLASSES
from emgmodels.config import IntermediateCtc
from emgmodels.ctc import ctc_loss
from emgmodels.network.network import Framing, Network
from emgmodels.stages.stage import Stage
from emgmodels.windows.cut import Batch


class IntermediateHeads(nn.Module):
    """A linear head behind each of some stages, for training alone: no part of the model.

    While the model trains, what the stages put out is noted, so ``loss`` belongs to the batch that
    the model has just seen.
    """

    def __init__(self, model: Network, config: IntermediateCtc | None, seed: int) -> None:
        """Make the heads.

        Args:
            model: the model, on the CPU.
            config: after which stages; None: there are no heads.
            seed: of the heads' first weights.
        """
        super().__init__()
        self.config, self.model_stride, self.model_left = config, model.stride, model.left
        self.hop = model.spectrogram.hop
        self.heads = nn.ModuleList()
        self._places: list[tuple[int, int]] = []  # frames consumed, and stride, up to each head
        self._outputs: dict[int, Tensor] = {}
        if config is None:
            return
        left, stride = 0, 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            names = [name for name, _ in model.config.encoder.stages()]
            for index, (name, stage) in enumerate(zip(names, model.stages, strict=True)):
                assert isinstance(stage, Stage)
                left, stride = left + stage.left * stride, stride * stage.stride
                if name in config.after:
                    number = len(self.heads)
                    # Which keys were pressed only both hands together say.
                    hands = model.hands if index < model.shared else 1
                    self.heads.append(nn.Linear(hands * stage.width, NUM_CLASSES))
                    self._places.append((left, stride))
                    join = model.joined if hands > 1 else None
                    stage.register_forward_hook(self._noting(model, number, join))

    def loss(self, batch: Batch, framing: Framing) -> Tensor:
        """Return the mean CTC loss of the heads, per label.

        Args:
            batch: the batch that the model has just seen.
            framing: how it is framed for the model.
        """
        losses = []
        for number, (head, (left, stride)) in enumerate(zip(self.heads, self._places, strict=True)):
            # The labelled window begins at the same feature frame for every stage.
            begin = self.model_left + framing.first * self.model_stride
            first = (begin - left) // stride
            wanted = framing.frames * self.model_stride // stride
            log_probs = head(self._outputs.pop(number)[:, first : first + wanted])
            log_probs = log_probs.float().log_softmax(-1)
            frames = None
            if batch.lengths is not None:
                frames = -(-(batch.lengths // self.hop) // stride)
                frames = frames.clamp(max=log_probs.shape[1])
            losses.append(ctc_loss(log_probs, batch.labels, batch.label_lengths, frames))
        return torch.stack(losses).mean()

    def _noting(
        self, model: Network, number: int, join: Callable[[Tensor], Tensor] | None
    ) -> Callable[[nn.Module, object, Tensor], None]:
        def note(stage: nn.Module, _: object, output: Tensor) -> None:
            if model.training:  # a frozen stage is not, and its head is trained all the same
                self._outputs[number] = join(output) if join else output

        return note
