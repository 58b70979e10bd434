"""Pretrained language models of Hugging Face as a stage: frames in the place of words.

Nothing is downloaded here and no code of a model's repository is run. What a model looks like is
read from its ``config.json``, its weights from ``model.safetensors``, both already on this machine.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from emgmodels.config import PretrainedConfig
from emgmodels.installing import how_to_install
from emgmodels.saying import counted
from emgmodels.stages.flow import Flow
from emgmodels.stages.stage import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

GPT2 = ("gpt2", "openai-community/gpt2")
"""Names of GPT-2 small, whose shape needs no file."""


class PretrainedStage(Stage):
    """The first hidden layers of a language model, linear bridges on either side.

    All of it is frozen and in evaluation mode but the layers, or normalisations, that are asked to
    learn. The model keeps its own positions, and its table of words is left out.
    """

    def __init__(self, width: int, config: PretrainedConfig) -> None:
        super().__init__(width)
        shape = load_shape(config)
        hidden = shape.hidden_size
        self.width = width
        self.into = nn.Linear(width, hidden)
        self.model = _load_model(config, shape)
        self.longest = _positions(self.model)
        self.out = nn.Linear(hidden, width)
        layers = hidden_layers(self.model, config.layers)
        self.trained = [*layers[: config.train_first], *layers[config.layers - config.train_last :]]
        # Millions of frozen weights need neither gradients nor the optimiser's memory.
        self.model.requires_grad_(False)
        for layer in self.trained:
            layer.requires_grad_(True)
        for module in self.model.modules():
            if config.train_norms and "norm" in type(module).__name__.lower():
                module.requires_grad_(True)
        causal = [m.is_causal for m in self.model.modules() if hasattr(m, "is_causal")]
        self.lookahead = 0 if causal and all(causal) else math.inf
        self._hidden, self._layers = hidden, layers

    def train(self, mode: bool = True) -> PretrainedStage:
        """Set what learns to training mode; the frozen layers stay as they are in use."""
        super().train(mode)
        # Dropout in frozen layers would only blur what they were trained to do.
        self.model.eval()
        for layer in self.trained:
            layer.train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        if x.shape[1] > self.longest:
            raise ValueError(
                f"the language model has {self.longest:g} positions and the window "
                f"{counted(x.shape[1], 'frame')}: take a shorter window, a larger hop or a stride "
                f"before it"
            )
        return self.out(self.model(inputs_embeds=self.into(x)).last_hidden_state)

    def flow(self) -> Flow:
        """Refuse: a language model has a fixed number of positions, and a stream has no end."""
        raise ValueError(
            "a language model attends to all that came before: train a transformer in its place, "
            "with left_context: 125 and right_context: 0"
        )

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        matrices = sum(p.numel() for p in self._layers.parameters() if p.ndim == 2)
        attention = 2 * frames * self._hidden * len(self._layers)
        return frames * (matrices + attention + 2 * self._hidden * self.width)


def load_shape(config: PretrainedConfig) -> PreTrainedConfig:
    """Return the configuration of a model on this machine, cut to the layers that are used.

    Raises:
        ValueError: transformers is not installed, the model is not here, it has fewer layers, or
            it is of a kind that cannot stand in a stack of stages.
    """
    try:
        from transformers import AutoConfig, GPT2Config
    except ImportError:
        raise ValueError(
            f"the pretrained stage needs transformers: {how_to_install('pretrained')}"
        ) from None
    name = str(Path(config.name).expanduser())
    try:
        # Never over the network: a search on nodes without one would fail hours in.
        shape: Any = AutoConfig.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError) as error:
        # Its shape is well known, so that a space with it can be checked and described without
        # the file.
        if config.name not in GPT2:
            raise ValueError(_missing(config.name, error)) from None
        shape = GPT2Config()
    if shape.is_encoder_decoder or not getattr(shape, "num_hidden_layers", None):
        raise ValueError(
            f"{config.name} is a {shape.model_type} model: only causal models and encoders of text "
            f"fit, such as GPT-2, Llama or BERT"
        )
    if config.layers > shape.num_hidden_layers:
        raise ValueError(
            f"{config.name} has {counted(shape.num_hidden_layers, 'hidden layer')}: layers is "
            f"{config.layers} and may be at most that"
        )
    shape.num_hidden_layers = config.layers
    shape.use_cache = False
    return shape


def check_weights(config: PretrainedConfig) -> None:
    """Refuse a model whose weights are not on this machine, or are not those of its config.json.

    Raises:
        ValueError: the message says which folder to fill, and how.
    """
    _read_weights(config.name, load_shape(config))


def hidden_layers(model: nn.Module, layers: int) -> nn.ModuleList:
    """Return the list of a model's hidden layers, whatever the model calls it."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {counted(layers, 'hidden layer')}")


def _positions(model: PreTrainedModel) -> float:
    """Return how many frames a model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or math.inf
    padding = getattr(getattr(model, "embeddings", None), "padding_idx", None)
    return positions if padding is None else positions - padding - 1  # RoBERTa counts from there


def _load_model(config: PretrainedConfig, shape: PreTrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    # Describing an architecture must not read half a gigabyte of weights.
    on_paper = torch.empty(0).device.type == "meta"
    if on_paper or config.weights == "random":
        model = AutoModel.from_config(shape, dtype=torch.float32)
    else:
        model = _read_weights(config.name, shape)
    model.set_input_embeddings(None)
    if hasattr(model, "pooler"):
        model.pooler = None  # sums up a sentence; nothing here asks for it
    return model


def _read_weights(name: str, shape: PreTrainedConfig) -> PreTrainedModel:
    from transformers import AutoModel

    try:
        with _quiet():
            model, found = AutoModel.from_pretrained(
                str(Path(name).expanduser()),
                config=shape,
                local_files_only=True,
                # A pickle could run code.
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(_missing(name, error)) from None
    absent = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if absent:
        raise ValueError(
            f"{name}: its weights are not those of its config.json: {len(absent)} are missing, "
            f"{absent[0]} among them"
        )
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the layers that are left out on purpose."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _missing(name: str, error: Exception) -> str:
    """Return what to do about a model that is not on this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if Path(name).expanduser().is_dir():
        return (
            f"{name}: is not a model: the folder needs config.json and model.safetensors, as "
            f"save_pretrained writes them ({str(error).splitlines()[0]})"
        )
    return (
        f"{name}: is not on this machine, and nothing is downloaded during a search. Run "
        f"'hf download {name}' where there is a network, which fills {HF_HUB_CACHE} (copy that "
        f"folder here if need be), or name a folder with config.json and model.safetensors"
    )
