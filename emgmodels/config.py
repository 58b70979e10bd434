"""The frozen configuration of a model and of its training, and its YAML form.

One tree of pydantic models is the only configuration technology of the project: a space file is
checked against it, a suggestion of the search becomes one, a checkpoint carries one, ``best.yaml``
is one. Unknown keys are errors, sizes that follow from others are derived, never configured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SAMPLE_RATE = 2000
"""Samples a second of both wristbands (Hz)."""
BANDS = 2
"""Wristbands: left, right."""
BAND_ELECTRODES = 16
"""Electrodes around one wristband."""

PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
StageName = Literal["transformer", "recurrent", "conv"]


class Frozen(BaseModel):
    """Base of every configuration: immutable, hashable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FeaturesConfig(Frozen):
    """Log-spectrogram of each electrode."""

    n_fft: Annotated[int, Field(ge=8, le=1024, multiple_of=2)] = 64
    """Samples in one analysis window; n_fft // 2 + 1 frequencies."""
    bins: Annotated[int, Field(ge=1)] | None = None
    """Frequency bins: power is averaged over bands that widen with frequency. null: one for each
    frequency."""
    hop: Annotated[int, Field(ge=1, le=1000)] = 16
    """Samples between frames: 16 gives 125 frames a second."""

    @model_validator(mode="after")
    def _check_bins(self) -> FeaturesConfig:
        frequencies = self.n_fft // 2 + 1
        if self.bins is not None and self.bins > frequencies:
            raise ValueError(
                f"bins: {self.bins} are more than the {frequencies} frequencies of n_fft "
                f"{self.n_fft}: take at most that many, or a larger n_fft"
            )
        return self


class ConvConfig(Frozen):
    """Time-depth-separable convolution (TDS) stage, Hannun et al. 2019."""

    layers: Count = 4
    """Blocks; each consumes kernel - 1 frames of context. 0: the stage is absent."""
    channels: PositiveInt = 24
    """Channels the features are divided into; the rest of the width is not mixed over time."""
    kernel: PositiveInt = 32
    """Width of the temporal convolution (frames)."""


class RecurrentConfig(Frozen):
    """GRU (Cho et al. 2014) or LSTM (Sak et al. 2014) stage."""

    cell: Literal["gru", "lstm"] = "gru"
    """Kind of recurrent cell."""
    layers: Count = 4
    """Stacked layers. 0: the stage is absent."""
    hidden: PositiveInt = 256
    """Units of each direction."""
    bidirectional: bool = True
    """Also read the window from its end; the output is then 2 x hidden wide."""
    dropout: Probability = 0.0
    """Dropout between layers."""


class TransformerConfig(Frozen):
    """Pre-norm transformer encoder stage, Vaswani et al. 2017."""

    layers: Count = 2
    """Stacked layers. 0: the stage is absent."""
    heads: PositiveInt = 8
    """Attention heads."""
    feedforward: PositiveInt = 512
    """Hidden units of the feed-forward part."""
    dropout: Probability = 0.1
    """Dropout of attention, feed-forward and residual paths."""


class EncoderConfig(Frozen):
    """The stages between the MLP and the linear head, and their order.

    A stage of 0 layers is absent: it is dropped from the order and its other parameters are
    forgotten, so that equal architectures are equal configurations.
    """

    order: tuple[StageName, ...] = ("conv",)
    """Stages from input to output, each at most once; a stage named here without a section of its
    own has that section's defaults."""
    transformer: TransformerConfig | None = None
    """The transformer stage."""
    recurrent: RecurrentConfig | None = None
    """The recurrent stage."""
    conv: ConvConfig | None = None
    """The convolution stage."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent_stages(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        order = values.get("order", ("conv",))
        if not isinstance(order, list | tuple) or not all(isinstance(name, str) for name in order):
            return values  # the field's own check says what is wrong
        absent = {
            name
            for name in ("transformer", "recurrent", "conv")
            if isinstance(stage := values.get(name), dict | Frozen)
            and dict(stage).get("layers") == 0
        }
        values["order"] = tuple(name for name in order if name not in absent)
        for name in absent:
            values[name] = None
        for name in values["order"]:
            if name in cls.model_fields and values.get(name) is None:
                values[name] = {}
        return values

    @model_validator(mode="after")
    def _check_order(self) -> EncoderConfig:
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order names a stage twice: {', '.join(self.order)}")
        for name in ("transformer", "recurrent", "conv"):
            if getattr(self, name) is not None and name not in self.order:
                raise ValueError(
                    f"stage '{name}' is configured and is not in order ({', '.join(self.order)}): "
                    f"add it to order, give it 'layers: 0', or remove its section"
                )
        return self

    def stages(self) -> list[tuple[StageName, Frozen]]:
        """Return the stages that exist, from input to output, with their configurations."""
        return [(name, getattr(self, name)) for name in self.order]


class ModelConfig(Frozen):
    """An architecture: everything that decides the model's parameters and function."""

    electrodes: Annotated[int, Field(ge=1, le=BAND_ELECTRODES)] = 16
    """Electrodes used of each band, evenly spaced, the same in training, validation and test."""
    features: FeaturesConfig = FeaturesConfig()
    """Spectrogram settings."""
    norm: Literal["electrode", "bin"] = "electrode"
    """What the spectrogram norm makes alike: each electrode as a whole, or each of its frequency
    bins, which trains faster on little data."""
    mlp_features: PositiveInt = 384
    """Outputs of each band's rotation-invariant MLP; the encoder's input is twice as wide."""
    encoder: EncoderConfig = EncoderConfig(conv=ConvConfig())
    """Stages between MLP and head."""


class AugmentationConfig(Frozen):
    """Random changes of training windows; validation and test are never changed."""

    rotation: Annotated[int, Field(ge=0, le=BAND_ELECTRODES // 2)] = 1
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
    window_seconds: Annotated[float, Field(ge=1, le=64)] = 4.0
    """Length of a training window without its context (s). Validation windows are always 4 s."""
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
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of initial weights, window order, augmentation and dropout."""
    model: ModelConfig = ModelConfig()
    """The architecture."""
    training: TrainingConfig = TrainingConfig()
    """The training."""


def load_config(path: str | Path) -> Config:
    """Read a training's YAML file (such as a run's ``best.yaml``).

    Raises:
        ValueError: the file is missing, is not YAML, or a key or value in it is wrong; the message
            names the file, each path inside it, the value and the rule.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML: {error}") from None
    try:
        return Config.model_validate(values if values is not None else {})
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, str(path)))) from None


def dump_config(config: Frozen) -> str:
    """Return the YAML text of a configuration; ``load_config`` reads a ``Config`` back equal."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def explain(error: ValidationError, where: str) -> list[str]:
    """Return one line for each mistake that pydantic found: file, path, value, rule."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"]) or "top level"
        rule = item["msg"].removeprefix("Value error, ")
        value = item["input"]
        shown = f" (got {value!r})" if not isinstance(value, dict | list | tuple) else ""
        lines.append(f"{where}: {path}: {rule}{shown}")
    return lines


def _plain(config: Frozen) -> dict[str, Any]:
    """Return nested dicts and lists without the keys that are null by default."""
    plain: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value is None and field.default is None:
            continue
        if isinstance(value, Frozen):
            value = _plain(value)
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
