"""How a model is trained, and a training as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from emgmodels.config.base import (
    BAND_ELECTRODES,
    Count,
    Frozen,
    PositiveInt,
    Probability,
    Whole,
    as_tuple,
)
from emgmodels.config.model import ModelConfig
from emgmodels.config.own import OwnPart, names_code
from emgmodels.config.recipes import RecipeName, with_recipe
from emgmodels.config.starting import Factors, StartFrom, part_problem, parts_of, starting_from


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
    mask_scope: Literal["window", "band", "electrode"] = "window"
    """What shares one draw of the masks' places and widths. How many masks there are is drawn once
    a window."""
    mask_fill: Literal["mean", "zero"] = "mean"
    """What masked cells take: the window's mean, or 0."""
    electrode_dropout: Probability = 0.0
    """How likely each electrode of a window is silent, as one that has lost contact."""
    gain_jitter_db: Annotated[float, Field(ge=0, le=40)] = 0.0
    """Each electrode of a window is made louder or quieter by up to this (dB)."""
    noise_jitter: Annotated[float, Field(ge=0, le=10)] = 0.0
    """White noise on each electrode of a window: up to this, in deviations of its EMG."""
    time_stretch: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Each batch is played faster or slower by up to this part, with its keys; prompts are not.
    Frequencies move with it."""
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


_LARGEST_LAG = 1000.0  # ms


def _key_lag(value: Any) -> float | Literal["auto"]:
    """Return what corrects key times: ``auto``, or milliseconds."""
    if value == "auto":
        return "auto"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) <= _LARGEST_LAG:
        return float(value)
    rule = (
        f"Input should be auto, or milliseconds from {-_LARGEST_LAG:.0f} to {_LARGEST_LAG:.0f}: "
        f"0 takes key times as they are"
    )
    raise PydanticCustomError("key_lag", rule)


if TYPE_CHECKING:
    KeyLagSetting = float | Literal["auto"]
else:
    _LAG_SCHEMA = {"type": "number", "minimum": -_LARGEST_LAG, "maximum": _LARGEST_LAG}
    KeyLagSetting = Annotated[
        Any,
        BeforeValidator(_key_lag),
        WithJsonSchema({"anyOf": [{"enum": ["auto"]}, _LAG_SCHEMA]}),
    ]
    """How key times are corrected: ``auto``, or by that many milliseconds."""


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
    key_lag_ms: KeyLagSetting = "auto"
    """What is added to key times for the framewise loss, which alone is changed by it (ms).
    ``auto``: what makes each session's lag between keys and EMG that of the others, by an estimate;
    where none is sure, the session has no framewise loss. 0: key times as they are."""


class Average(Frozen):
    """Weights averaged over the training: these are validated, kept, exported and read with.

    The batch statistics are averaged with the weights. One of the keys is given.
    """

    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Part that an exponential average keeps of itself at each optimiser step, less in the first
    steps: 0.999 looks back about a thousand of them."""
    last_epochs: PositiveInt | None = None
    """The mean of what the last epochs ended with; before these the weights stand for
    themselves."""

    @model_validator(mode="after")
    def _check_one(self) -> Average:
        if self.ema is not None and self.last_epochs is not None:
            raise ValueError("ema and last_epochs are two averages: leave one of them out")
        return self


class IntermediateCtc(Frozen):
    """CTC with heads of their own behind stages in the middle (Lee and Watanabe 2021).

    The heads are trained with the model, and are no part of it.
    """

    after: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Stages of the order that have a head: ``[recurrent]``."""
    weight: Annotated[float, Field(gt=0)] = 0.3
    """Weight of the mean of the heads' losses; the model's own has weight 1."""

    @model_validator(mode="after")
    def _check_names(self) -> IntermediateCtc:
        if len(set(self.after)) < len(self.after):
            raise ValueError("after must name each stage once")
        return self


class TrainingConfig(Frozen):
    """How a model is trained."""

    recipe: Annotated[RecipeName | None, Field(exclude=True)] = None
    """Published settings as a whole: each key that they have and this section leaves out. What is
    written to disk has these keys in its place. ``emg2qwerty``: masks of zeros for each electrode,
    Adam at 1e-3 without clipping, by epoch from 1e-8 over 10 epochs and along a cosine to 1e-6,
    windows of 4 s, batches of 32, 150 epochs. ``report``: the same with 50 epochs."""
    epochs: PositiveInt = 50
    """Passes over the training windows."""
    batch_size: PositiveInt = 32
    """Windows an optimiser step."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam (Kingma and Ba 2015), or with decoupled weight decay."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "one_cycle", "constant", "step", "warmup_stable_decay"] = "cosine"
    """What follows the warm-up: a cosine (Loshchilov and Hutter 2017); ``one_cycle``: a cosine in
    the warm-up too (Smith and Topin 2019); the peak to the end; ``step``: a tenth of it after half
    of the training, a hundredth after three quarters; ``warmup_stable_decay``: the peak, and in the
    last fifth a straight line down (Hu et al. 2024)."""
    schedule_by: Literal["step", "epoch"] = "step"
    """The learning rate changes at every optimiser step, or stays the same for an epoch."""
    warmup_steps: Count | None = 1000
    """Optimiser steps of linear warm-up, at most half of all. null: ``warmup_epochs``, or none."""
    warmup_epochs: Count | None = None
    """Epochs of linear warm-up, in place of ``warmup_steps``."""
    start_learning_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Learning rate of the first step or epoch; null: the warm-up's first share of the peak."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Learning rate of the last step or epoch; null: falls as if to reach 0 one step or epoch after
    the last. ``step`` falls no lower, and ``constant`` has no use for it."""
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
    balance: Literal["windows", "sessions", "users"] = "windows"
    """What an epoch draws equally from: each window once, or as many windows of each session or of
    each user, of whom some repeat and some are left out."""
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
    average: Average | None = None
    """Average of the weights: ``{ema: 0.999}`` or ``{last_epochs: 10}``; null: the weights of each
    epoch as they are."""
    intermediate_ctc: IntermediateCtc | None = None
    """CTC behind stages in the middle of the encoder as well; null: at its end alone."""
    start_from: Annotated[StartFrom | None, BeforeValidator(starting_from)] = None
    """Weights to start from, a path or a section; null: random ones."""
    unshare: bool = False
    """Of a checkpoint whose hands share weights, give each hand its own copy of them."""
    freeze: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Parts that stay as they are in the checkpoint: ``norm``, ``mlp``, ``head``, stages of the
    order."""
    freeze_epochs: PositiveInt | None = None
    """Epochs for which they stay so; null: all."""
    learning_rate_factors: Factors | None = None
    """Parts that learn slower or faster than ``learning_rate``: ``{conv: 0.1}``."""

    @model_validator(mode="before")
    @classmethod
    def _as_written_plainly(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = with_recipe(values)
        steps, epochs = values.get("warmup_steps"), values.get("warmup_epochs")
        if steps is not None and epochs is not None:
            raise ValueError(
                f"warmup_steps {steps} and warmup_epochs {epochs} are two warm-ups: leave one of "
                f"them out, or make it null"
            )
        if epochs is not None:
            values["warmup_steps"] = None
        if values.get("freeze") in ((), []):
            # Nothing is frozen for no time: equal trainings are equal configurations.
            values.pop("freeze_epochs", None)
        return values

    @model_validator(mode="after")
    def _check_what_is_given(self) -> TrainingConfig:
        # A space is checked key by key: there the other keys are not those of the training.
        if problems := self.contradictions(given_only=True):
            raise ValueError("; ".join(problems))
        return self

    def contradictions(self, given_only: bool = False) -> list[str]:
        """Return which settings contradict each other, and what would be right.

        Args:
            given_only: leave out what contradicts a default.
        """
        found = []

        def is_meant(*names: str) -> bool:
            return not given_only or set(names) <= self.model_fields_set

        warmup, epochs, peak = self.warmup_epochs, self.epochs, self.learning_rate
        if is_meant("epochs") and warmup is not None and warmup > epochs:
            found.append(
                f"warmup_epochs: {warmup} epochs of warm-up are more than the training's {epochs}: "
                f"take at most {epochs}, or more epochs"
            )
        for name in ("start_learning_rate", "final_learning_rate"):
            rate = getattr(self, name)
            if is_meant("learning_rate") and rate is not None and rate > peak:
                found.append(
                    f"{name}: {rate:g} is above the peak, learning_rate {peak:g}: take at most that"
                )
        if self.intermediate_ctc is not None and not self.intermediate_ctc.after:
            found.append("intermediate_ctc.after: names no stage: name one of the order")
        average = self.average
        if average is not None and average.ema is None and average.last_epochs is None:
            found.append("average: says not how: give it ema: 0.999 or last_epochs: 10, or null")
        last = None if average is None else average.last_epochs
        if is_meant("epochs") and last is not None and last > epochs:
            found.append(
                f"average.last_epochs: {last} are more than the training's {epochs}: take at most "
                f"{epochs}, or more epochs"
            )
        frozen = self.freeze_epochs
        if is_meant("epochs") and frozen is not None and frozen > epochs:
            found.append(
                f"freeze_epochs: {frozen} are more than the training's {epochs}: take at most "
                f"{epochs}, or more epochs"
            )
        return [*found, *([] if given_only else self._start_problems())]

    def _start_problems(self) -> list[str]:
        """Return what is said of a start that there is not."""
        start, found = self.start_from, []
        if start is not None and not start.path:
            found.append("start_from.path: names no checkpoint: give its path, or start_from: null")
        if self.freeze_epochs is not None and not self.freeze:
            found.append("freeze_epochs: nothing is frozen: name parts in freeze: [conv]")
        for name in ("unshare", "freeze"):
            if start is None and getattr(self, name):
                found.append(
                    f"{name}: there is no checkpoint, only random weights: name one with "
                    f"start_from, or leave {name} out"
                )
        return found


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

    @model_validator(mode="before")
    @classmethod
    def _give_hands_their_own(cls, values: Any) -> Any:
        if isinstance(values, dict) and _read(values.get("training"), "unshare") is True:
            # The architecture says so too: weights are read without knowing their training.
            model = values.get("model", {})
            if isinstance(model, ModelConfig):
                model = model.model_copy(update={"own_hands": bool(model.share_bands)})
            elif isinstance(model, dict):
                model = {**model, "own_hands": True}
            values = {**values, "model": model}
        return values

    @model_validator(mode="after")
    def _check_training(self) -> Config:
        problems = self.training.contradictions()
        middle = self.training.intermediate_ctc
        names = [name for name, _ in self.model.encoder.stages()]
        for name in middle.after if middle else ():
            if name not in names:
                problems.append(
                    f"intermediate_ctc.after: {name!r} is not among the stages of the encoder: "
                    f"name one of {', '.join(names)}"
                )
        problems += self._part_problems()
        if problems:
            raise ValueError("; ".join(f"training.{problem}" for problem in problems))
        return self

    def _part_problems(self) -> list[str]:
        """Return what is said of parts that the model has not, or of all that it has."""
        training, parts = self.training, parts_of(self.model)
        factors = training.learning_rate_factors
        named = {
            "freeze": training.freeze,
            "learning_rate_factors": [n for n, v in factors or () if v is not None],
        }
        found = [
            part_problem(key, name, parts)
            for key, names in named.items()
            for name in names
            if name not in parts
        ]
        if {*parts} <= {*training.freeze}:
            found.append(
                f"freeze: names all parts of the model ({', '.join(parts)}), so that nothing would "
                f"be trained: leave one out"
            )
        if training.unshare and not self.model.share_bands:
            found.append(
                "unshare: the hands share nothing (model.share_bands is false): start from a "
                "checkpoint that was trained with share_bands, or leave unshare out"
            )
        return found


def _read(section: Any, key: str) -> Any:
    """Return a value of a section, or of its values as YAML has them."""
    return section.get(key) if isinstance(section, dict) else getattr(section, key, None)
