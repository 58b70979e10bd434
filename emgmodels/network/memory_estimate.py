"""What a training needs of memory, before it is begun.

Weights, gradients and Adam's two moments are 16 bytes a parameter; the rest is what the backward
pass needs of a batch. It is counted by running the model forward on PyTorch's meta device, which
allocates nothing, and adding up what autograd keeps. Recurrent layers are counted by hand: there
they would be run frame by frame.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from emgmodels.config import SAMPLE_RATE, Config, ModelConfig
from emgmodels.network.network import Network

_BYTES_PER_PARAMETER = 16
"""Weight, gradient and two moments, 4 bytes each."""
_WORKING = 1.5
"""What is kept, gradients and workspaces of the backward pass included, over what is kept alone;
measured on a CPU."""


@dataclass(frozen=True)
class Footprint:
    """What a training step has in memory, counted at 4 bytes a number.

    Attributes:
        parameters: the model's.
        inputs: bytes of a batch's EMG and features.
        kept: bytes that the forward pass leaves for the backward pass.
    """

    parameters: int
    inputs: int
    kept: int


def training_bytes(config: Config, prompt_seconds: float = 0.0) -> int:
    """Return what a training step needs (bytes), beside what its process has before it.

    Activations are counted at 4 bytes a number; mixed precision needs less. A GPU's context, its
    libraries' workspaces and the recordings are not counted.

    Args:
        config: the training.
        prompt_seconds: the longest prompt of sessions without key times, 0 where there are none.

    Raises:
        ValueError: the model cannot be built.
    """
    steps = [footprint(config)]
    training = config.training
    if prompt_seconds > training.window_seconds:
        # A batch of prompts has as much EMG as one of windows, unless one prompt has more.
        windows = max(1, int(training.batch_size * training.window_seconds / prompt_seconds))
        longer = {"batch_size": windows, "window_seconds": prompt_seconds}
        with contextlib.suppress(ValueError):  # a prompt that the model cannot take is left out
            steps.append(
                footprint(
                    config.model_copy(update={"training": training.model_copy(update=longer)})
                )
            )
    per_parameter = _BYTES_PER_PARAMETER + (0 if training.average is None else 4)
    return max(
        # The largest of both, since batches of windows and of prompts take turns.
        found.parameters * per_parameter + found.inputs + round(_WORKING * found.kept)
        for found in steps
    )


def footprint(config: Config) -> Footprint:
    """Return what a training step has in memory.

    Raises:
        ValueError: the model cannot be built.
    """
    training = config.training
    return _footprint(
        config.model,
        training.batch_size,
        training.window_seconds,
        training.past_seconds,
        training.future_seconds,
    )


@functools.lru_cache(maxsize=4096)
def _footprint(
    config: ModelConfig, windows: int, length: float, past: float, future: float
) -> Footprint:
    with torch.device("meta"):
        model = Network(config)
    samples = [round(seconds * SAMPLE_RATE) for seconds in (length, past, future)]
    shape = (windows, config.bands, config.electrodes, model.framing(*samples).samples)
    recurrent = [
        _Recurrent.stand_in(each) for each in model.modules() if isinstance(each, nn.RNNBase)
    ]
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # By storage, since autograd keeps several views of the same memory.
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        emg = torch.empty(shape, device="meta")
        features = model.spectrogram(emg)
        model(features)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    # Weights are kept for the backward pass too, and counted already.
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)
    saved += sum(4 * each.kept for each in recurrent)
    return Footprint(numbers, 4 * (emg.numel() + features.numel()), saved)


class _Recurrent:
    """Stands in for a recurrent layer's forward pass: shape of its output, and what it keeps."""

    def __init__(self, layer: nn.RNNBase) -> None:
        self.layer = layer
        self.kept = 0

    @classmethod
    def stand_in(cls, layer: nn.RNNBase) -> _Recurrent:
        found = cls(layer)
        # On the meta device a recurrent layer would run frame by frame, which takes ten times as
        # long and comes no nearer.
        layer.forward = found
        return found

    def __call__(self, x: Tensor, state: object = None) -> tuple[Tensor, None]:
        """Return an output for (N, T, D) or (T, N, D), and no last state."""
        layer = self.layer
        width = layer.hidden_size * (2 if layer.bidirectional else 1)
        gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
        frames = x.shape[0] * x.shape[1]
        # Gates, input, states and output of each layer, and the input of the first.
        self.kept += frames * (layer.num_layers * width * (gates + 3) + x.shape[2])
        return x.new_empty((*x.shape[:2], width)), None
