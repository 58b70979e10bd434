"""Checkpoints of emg2qwerty's baseline, in both directions.

Its module for TDS convolution and CTC (Sivakumar et al. 2024) and our ``conv`` encoder are one
function under different names: spectrogram norm, an MLP for each band, TDS blocks, a linear head.
Its checkpoints say neither hop, nor the context of its windows, nor which recordings they were
trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from emgmodels.config import (
    BAND_ELECTRODES,
    BANDS,
    Config,
    ConvConfig,
    EncoderConfig,
    FeaturesConfig,
    ModelConfig,
)
from emgmodels.network.network import Network

LIGHTNING_VERSION = "1.8.6"
"""The version of PyTorch Lightning that emg2qwerty is written for."""
_SPECTROGRAM = (64, 16)
"""Its n_fft and hop."""
_ITS_PADDING, _NEARLY_ITS_PADDING = (1800, 200), (1792, 240)
"""Its context of a window (samples), and what the convolutions that it is meant for consume; with
it they lose the window's last two frames of 500."""
_CONV = re.compile(r"model\.3\.tds_conv_blocks\.(\d+)\.conv2d\.weight")
_MLP = re.compile(r"model\.1\.mlps\.0\.mlp\.\d+\.weight")


def from_emg2qwerty(theirs: Mapping[str, Any], name: str) -> tuple[Config, dict[str, Tensor]]:
    """Return configuration and weights of emg2qwerty's module.

    Args:
        theirs: its ``state_dict``.
        name: what to call the model.

    Raises:
        ValueError: it is another architecture.
    """
    # Lightning also keeps the state of metrics there, which are no tensors.
    theirs = {key: value for key, value in theirs.items() if isinstance(value, Tensor)}
    try:
        model = _architecture(theirs)
        names = dict(_names(model))
        if missing := sorted(set(names.values()) - set(theirs)):
            raise ValueError(f"{missing[0]} is missing")
        # A part that is not known must not be dropped in silence: the model would read something
        # else.
        if other := sorted(set(theirs) - set(names.values())):
            raise ValueError(f"{other[0]} is not part of it")
    except (KeyError, ValueError, IndexError) as problem:
        raise ValueError(
            f"it is not emg2qwerty's architecture of TDS convolutions: {problem}"
        ) from None
    return Config(name=name, model=model), {ours: theirs[key] for ours, key in names.items()}


def to_emg2qwerty(
    config: Config, weights: Mapping[str, Tensor], epoch: int | None
) -> dict[str, Any]:
    """Return a checkpoint that emg2qwerty's Lightning module loads.

    Args:
        config: of the model.
        weights: its state.
        epoch: epochs that it was trained.

    Raises:
        ValueError: its module can't have this architecture.
    """
    model = config.model
    if wrong := list(_differences(model)):
        raise ValueError(f"emg2qwerty's module cannot be this model: {'; '.join(wrong)}")
    conv = model.encoder.conv
    assert conv is not None
    return {
        "epoch": max(0, (epoch or 0) - 1),  # Lightning counts from 0
        "global_step": 0,
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "state_dict": {theirs: weights[ours] for ours, theirs in _names(model)},
        "hparams_name": "kwargs",
        # Those that follow from the weights. The program that loads it gives optimiser and
        # decoder.
        "hyper_parameters": {
            "in_features": BAND_ELECTRODES * _bins(model),
            "mlp_features": [model.mlp_features] * model.mlp_layers,
            "block_channels": list(conv.of_each("channels")),
            "kernel_width": conv.kernel,
        },
    }


def padding(model: Network) -> tuple[int, int]:
    """Return the context of windows (samples before and after) that leaves their own frames alone.

    There each frame that a model gives is scored, so a window must be given exactly the context
    that its convolutions consume. Here other frames are cut off.
    """
    features = model.spectrogram
    return model.left * features.hop, model.right * features.hop + features.n_fft - features.hop


def settings_there(model: Network) -> Iterator[str]:
    """Yield what has to be set there, beyond its defaults, so that the model reads as here."""
    features = model.spectrogram
    if (features.n_fft, features.hop) != _SPECTROGRAM:
        yield f"set n_fft to {features.n_fft} and hop_length to {features.hop} in its transforms"
    if padding(model) != _NEARLY_ITS_PADDING:
        its, needed = list(_ITS_PADDING), list(padding(model))
        yield (
            f"set datamodule.padding to {needed} there: its default, {its} samples, is that of "
            f"another depth and kernel, and brings other frames than the window's"
        )


def _names(model: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield our name of each tensor, and theirs."""
    parts = [("head", "model.4")]
    for band in range(BANDS):
        mlp = f"model.1.mlps.{band}.mlp"
        parts.append((f"mlp.bands.{band}", f"{mlp}.0"))
        for layer in range(model.mlp_layers - 1):
            parts.append((f"mlp.deeper.{band}.{2 * layer}", f"{mlp}.{2 * layer + 2}"))
    assert model.encoder.conv is not None
    for i in range(model.encoder.conv.layers):
        ours, theirs = f"stages.0.blocks.{i}", "model.3.tds_conv_blocks"
        parts += [
            (f"{ours}.conv", f"{theirs}.{2 * i}.conv2d"),
            (f"{ours}.conv_norm", f"{theirs}.{2 * i}.layer_norm"),
            (f"{ours}.fc.0", f"{theirs}.{2 * i + 1}.fc_block.0"),
            (f"{ours}.fc.2", f"{theirs}.{2 * i + 1}.fc_block.2"),
            (f"{ours}.fc_norm", f"{theirs}.{2 * i + 1}.layer_norm"),
        ]
    parts.append(("norm.norm", "model.0.batch_norm"))
    for ours, theirs in parts:
        for tensor in ("weight", "bias"):
            yield f"{ours}.{tensor}", f"{theirs}.{tensor}"
    for tensor in ("running_mean", "running_var", "num_batches_tracked"):
        yield f"norm.norm.{tensor}", f"model.0.batch_norm.{tensor}"


def _architecture(theirs: Mapping[str, Tensor]) -> ModelConfig:
    """Return the architecture that the shapes of their tensors are of."""
    convs = sorted((int(match[1]), key) for key in theirs if (match := _CONV.fullmatch(key)))
    if not convs:
        raise ValueError("there are no TDS blocks")
    shapes = [theirs[key].shape for _, key in convs]
    kernels, channels = {shape[3] for shape in shapes}, tuple(shape[0] for shape in shapes)
    planes = len(theirs["model.0.batch_norm.weight"])
    features, inputs = theirs["model.1.mlps.0.mlp.0.weight"].shape
    if planes != BANDS * BAND_ELECTRODES or inputs % BAND_ELECTRODES or len(kernels) > 1:
        raise ValueError(
            f"{planes} electrodes, {inputs} inputs of the MLP and kernels of "
            f"{sorted(kernels)} frames: expected {BANDS * BAND_ELECTRODES} electrodes, a multiple "
            f"of {BAND_ELECTRODES} inputs and one kernel"
        )
    widths = [theirs[key].shape[0] for key in theirs if _MLP.fullmatch(key)]
    if set(widths) != {features}:
        raise ValueError(
            f"mlp_features {widths}: layers of the MLP must have one width, since a model of this "
            f"project has one mlp_features for all of them"
        )
    conv = ConvConfig(
        layers=len(convs),
        channels=channels[0] if len(set(channels)) == 1 else channels,
        kernel=kernels.pop(),
    )
    return ModelConfig(
        features=FeaturesConfig(n_fft=2 * (inputs // BAND_ELECTRODES - 1)),
        mlp_features=features,
        mlp_layers=sum(_MLP.fullmatch(key) is not None for key in theirs),
        encoder=EncoderConfig(order=("conv",), conv=conv),
    )


def _differences(model: ModelConfig) -> Iterator[str]:
    """Yield what its module has no setting for."""
    expected = {
        "norm": "electrode",
        "electrodes": BAND_ELECTRODES,
        "electrode_choice": "spaced",
    }
    for name, value in expected.items():
        if getattr(model, name) != value:
            yield f"{name} is {getattr(model, name)}, not {value}"
    if model.shares or model.hands > 1:
        yield f"share_bands is {model.share_bands}, not False"
    if model.features.filters != "fixed" or _bins(model) != model.features.n_fft // 2 + 1:
        yield "features are not the spectrogram with all its bins"
    conv = model.encoder.conv
    if model.encoder.order != ("conv",) or conv is None:
        yield f"the encoder is {' '.join(model.encoder.order) or 'none'}, not conv alone"
    elif len(conv.kernels) > 1:
        yield f"the convolutions {conv.kernel} stand side by side"
    elif conv.causal:
        yield "the convolution is causal, and its windows end 0.1 s after their labels"
    elif any(BANDS * model.mlp_features % channels for channels in conv.of_each("channels")):
        yield f"channels {conv.channels} do not divide {BANDS * model.mlp_features} features"


def _bins(model: ModelConfig) -> int:
    return model.features.bins or model.features.n_fft // 2 + 1
