"""How a model is trained, and a training as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from emgmodels.config.base import BAND_ELECTRODES, Count, Frozen, PositiveInt, Whole
from emgmodels.config.model import ModelConfig
from emgmodels.config.own import OwnPart, names_code


class OwnAugmentation(OwnPart):
    """An augmentation of the user's own: its code, and its settings as plain values."""


class AugmentationConfig(Frozen):
    """Random changes of training windows; validation and test are never changed.

    One of the user's own has a section under a name of its own, which says where its code is.
    """

    model_config = ConfigDict(extra="allow")
    if not TYPE_CHECKING:  # which takes it for a field
        __pydantic_extra__: dict[str, Annotated[OwnAugmentation, BeforeValidator(names_code)]]

    rotation: Annotated[Whole, Field(ge=0, le=BAND_ELECTRODES // 2)] = 1
    """Each band is rotated by -rotation ... +rotation electrodes."""
    band_jitter_ms: Annotated[float, Field(ge=0, le=1000)] = 60.0
    """Left and right band are shifted against each other by up to this (ms)."""
    time_masks: Count = 3
    """SpecAugment (Park et al. 2019): up to this many masks in time, per window."""
    time_mask_ms: Annotated[float, Field(ge=0, le=4000)] = 200.0
    """Longest time mask (ms)."""
    frequency_masks: Count = 2
    """SpecAugment: up to this many masks in frequency, per window."""
    frequency_mask_bins: Count = 4
    """Widest frequency mask (bins)."""
    window_jitter: bool = True
    """Training windows start anywhere, not on a grid."""
    random_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Random cropping: each batch is cut to a random part of its windows, at least this share, with
    the keys pressed in it. 1: no cropping."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: v for k, v in values.items() if v is not None or k in cls.model_fields}


class AlignedStart(Frozen):
    """Framewise cross-entropy from key times beside CTC in the first epochs.

    CTC alone stays near 100 % CER for a dozen epochs of this task. The keylogger's times say which
    frame belongs to which key, and a few epochs of that take the plateau away.
    """

    epochs: PositiveInt = 3
    """Epochs with the framewise loss."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the framewise loss; CTC has weight 1, and both are per label."""
    tolerance_ms: Annotated[float, Field(ge=0, le=200)] = 32.0
    """Frames this close to a key press are targets of the key (ms), at least one on either side."""
    blank_weight: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of frames away from every key, whose target is the blank."""


class TrainingConfig(Frozen):
    """How a model is trained."""

    epochs: PositiveInt = 50
    """Passes over the training windows."""
    batch_size: PositiveInt = 32
    """Windows an optimiser step."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam (Kingma and Ba 2015), or with decoupled weight decay."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Peak learning rate."""
    warmup_steps: Count = 1000
    """Optimiser steps of linear warm-up, at most half of all; a cosine to zero follows."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay."""
    gradient_clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest global gradient norm; null: no clipping."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of matrix products and convolutions; weights, normalisation and losses are float32 always,
    recurrent layers on a GPU too.
    ``auto``: bfloat16 on a GPU that has it, float32 elsewhere."""
    compile: bool = False
    """Compile the model with ``torch.compile``: a minute or two at the start; needs a C++ compiler.
    For GPUs: on a CPU steps took longer."""
    window_seconds: Annotated[float, Field(ge=1, le=64)] = 4.0
    """Length of a training window without its context (s). Validation windows are always 4 s.
    Prompts of sessions without key times are windows of their own length."""
    past_seconds: Annotated[float, Field(ge=0, le=16)] = 0.9
    """Context before each window (s); a deeper model is given what it needs."""
    future_seconds: Annotated[float, Field(ge=0, le=16)] = 0.1
    """Context after each window (s); a deeper model is given what it needs."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes of training windows."""
    aligned_start: AlignedStart | None = None
    """Framewise loss in the first epochs; null: CTC alone."""


class Config(Frozen):
    """One training: an architecture, how it is trained, and the seed of all its randomness."""

    name: str = "model"
    """What to call it."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of initial weights, window order, augmentation and dropout."""
    model: ModelConfig = ModelConfig()
    """The architecture."""
    training: TrainingConfig = TrainingConfig()
    """The training."""
