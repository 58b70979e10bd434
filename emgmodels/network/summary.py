"""What is known of an architecture before it is trained: parameters, operations, look-ahead."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import nn

from emgmodels.charset import NUM_CLASSES
from emgmodels.config import SAMPLE_RATE, Frozen, ModelConfig, OwnStage
from emgmodels.network.network import Network
from emgmodels.stages.registry import build_stage, try_stage
from emgmodels.stages.stage import Stage


@dataclass(frozen=True)
class Summary:
    """What is known of an architecture before it is trained.

    Attributes:
        parameters: trainable numbers.
        macs_per_second: multiply-accumulates for one second of EMG, measured over a 4 s window.
        lookahead_ms: EMG after a frame's first sample that its output waits for (ms); infinite
            where the whole window is seen.
        context_ms: EMG that valid convolutions consume around a window (ms).
        longest_ms: EMG that it can take at once (ms); infinite where any length will do.
        frame_rate: output frames a second.
        stages: name, input shape, output shape and parameters of each part, input to output;
            T is a 4 s window with its context.
    """

    parameters: int
    macs_per_second: float
    lookahead_ms: float
    context_ms: float
    longest_ms: float
    frame_rate: float
    stages: tuple[tuple[str, tuple[int, ...], tuple[int, ...], int], ...]


@functools.lru_cache(maxsize=4096)
def describe(config: ModelConfig) -> Summary:
    """Return parameter, operation and look-ahead counts, without allocating any weight."""
    with torch.device("meta"):
        # On the meta device weights have shapes and no memory. A search describes thousands of
        # models.
        model = Network(config, _known_stage)
    spectrogram = model.spectrogram
    window = 4 * SAMPLE_RATE
    framing = model.framing(window, past=0, future=0)
    frames = spectrogram.frames(framing.samples)
    consumed = (model.left + model.right) * spectrogram.hop
    return Summary(
        parameters=_parameters(model),
        macs_per_second=model.macs(frames) * SAMPLE_RATE / window,
        lookahead_ms=model.lookahead_ms,
        context_ms=1000 * consumed / SAMPLE_RATE,
        longest_ms=1000 * model.longest * spectrogram.hop / SAMPLE_RATE,
        frame_rate=SAMPLE_RATE / framing.step,
        stages=_stage_rows(model, frames),
    )


def stream_objection(config: ModelConfig) -> str | None:
    """Return why an architecture cannot read while EMG arrives, or None where it can.

    A look-ahead with an end is not enough: a stage may depend on a past without one, or one of the
    user's own may not say how it takes frames as they come.
    """
    try:
        with torch.device("meta"):
            Network(config, _known_stage).eval().flow()
    except ValueError as error:
        return str(error)
    except Exception as error:  # whatever a stage of the user's own raises
        return f"{type(error).__name__}: {error}"
    return None


@functools.lru_cache(maxsize=1024)
def _known_stage(name: str, width: int, config: Frozen) -> Stage:
    """Make a stage without weights once.

    A search describes thousands of architectures of the same few stages. One of the user's own is
    tried once as well.
    """
    if isinstance(config, OwnStage):
        with torch.device("cpu"):
            try_stage(name, width, config)
    return build_stage(name, width, config)


def _stage_rows(
    model: Network, frames: int
) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...], int], ...]:
    config = model.config
    shape: tuple[int, ...] = (config.bands, config.electrodes, frames, model.spectrogram.bins)
    rows = [("spectrogram norm", shape, shape, _parameters(model.norm))]
    if filters := _parameters(model.spectrogram):
        samples = (*shape[:2], model.spectrogram.samples(frames))
        rows.insert(0, ("learned filters", samples, shape, filters))
    hands = (model.hands,) if model.hands > 1 else ()
    out: tuple[int, ...] = (*hands, frames, model.mlp.width)
    rows.append(("rotation-invariant MLP", shape, out, _parameters(model.mlp)))
    for index, ((name, _), stage) in enumerate(
        zip(config.encoder.stages(), model._stages(), strict=True)
    ):
        if index == model.shared:
            out = _joined(out)
        shape, frames = out, stage.output_length(frames)
        out = (*shape[:-2], frames, stage.width)
        bridged = f" (bridge to {stage.width})" if stage.bridge is not None else ""
        rows.append((name + bridged, shape, out, _known_parameters(stage)))
    out = _joined(out)
    rows.append(("head", out, (frames, NUM_CLASSES), _parameters(model.head)))
    return tuple(rows)


def _joined(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of frames of both hands side by side, (T, D) as it is."""
    return (shape[1], math.prod(shape) // shape[1]) if len(shape) == 3 else shape


@functools.lru_cache(maxsize=1024)
def _known_parameters(stage: Stage) -> int:
    """Return the parameters of a stage; equal ones are one object, see ``_known_stage``."""
    return _parameters(stage)


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
