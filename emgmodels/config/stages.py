"""The stages that an encoder can have, and their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from emgmodels.config.base import Count, Frozen, PerLayer, PositiveInt, Probability, Whole
from emgmodels.config.own import OwnPart, names_code
from emgmodels.own_code import is_installed

BuiltIn = Literal["transformer", "recurrent", "conv", "conv1d", "conformer", "s4", "pretrained"]
STAGE_NAMES: tuple[str, ...] = get_args(BuiltIn)
"""Every stage of this project, by its name in ``order``."""


class _OwnName(str):
    """The name of a stage of the user's own, which its section has made known."""


def stage_name(own: Sequence[str] = ()) -> Any:
    """Return the type of a stage's name: this project's, or one of the user's own.

    Args:
        own: the user's own that may be named without a section.
    """
    allowed = [*STAGE_NAMES, *own]

    def check(value: Any) -> Any:
        if isinstance(value, _OwnName) or value in allowed:
            return str(value)
        *names, last = map(repr, allowed)
        raise PydanticCustomError("literal_error", f"Input should be {', '.join(names)} or {last}")

    schema = {"type": "string", "enum": allowed}
    return Annotated[str, BeforeValidator(check), WithJsonSchema(schema)]


if TYPE_CHECKING:
    StageName = str
else:
    StageName = stage_name()
Layers = Annotated[Whole, Field(ge=0, le=1000)]
"""Layers of a stage; nobody waits for more to be built."""


class StageConfig(Frozen):
    """What the configurations of all stages have in common."""

    layers: Layers = 1
    """Stacked layers. 0: the stage is absent."""

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame."""
        return 1

    def of_each(self, name: str) -> tuple[int, ...]:
        """Return the values of a setting, layer by layer."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.layers

    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.layers:
                yield (
                    f"{name} {list(value)} names {len(value)} layers of {self.layers}: give one "
                    f"number for each, or one for all"
                )


def _undivided(width: int | None, heads: int, rotary: bool) -> Iterator[str]:
    """Yield what is wrong with a width that attention heads do not divide, and what would fit."""
    whole = heads * (2 if rotary else 1)
    if width is None or width % whole == 0:
        return
    below, above = width // whole * whole, (width // whole + 1) * whole
    fitting = [n for n in range(1, 33) if width % (n * (2 if rotary else 1)) == 0]
    pairs = " of pairs, as rotary positions need" if rotary else ""
    yield (
        f"width {width} does not divide into {heads} heads{pairs}: take width "
        f"{f'{below} or ' if below else ''}{above}, or heads {', '.join(map(str, fitting))}"
    )


class ConvConfig(StageConfig):
    """Time-depth-separable convolution (TDS) stage, Hannun et al. 2019."""

    layers: Layers = 4
    """Blocks; each consumes kernel - 1 frames of context. 0: the stage is absent."""
    channels: PerLayer = 24
    """Channels the features are divided into by every block, or by each: ``[24, 24, 48, 48]``. The
    rest of the width is not mixed over time."""
    kernel: PositiveInt = 32
    """Width of the temporal convolution (frames)."""
    causal: bool = False
    """Take all context from the past; otherwise a tenth of it lies in the future."""


class Conv1dConfig(StageConfig):
    """Plain or residual convolution over time, padded so that it consumes no context."""

    layers: Layers = 2
    """Convolutions, each with normalisation and ReLU. 0: the stage is absent."""
    channels: PerLayer = 256
    """Output features of every layer, or of each: ``[512, 1024, 1024]``."""
    kernel: PerLayer = 5
    """Width of every layer (frames), or of each."""
    stride: PerLayer = 1
    """Frames between the outputs of every layer, or of each: ``[2, 2, 1]`` leaves a quarter."""
    residual: bool = False
    """Add each layer's input to its output (He et al. 2016), bridged where the shape changes."""
    separable: bool = False
    """Convolve each feature on its own, then mix features frame by frame (Chollet 2017)."""
    causal: bool = False
    """See no frame of the future; otherwise half of the kernel lies there."""
    norm: Literal["batch", "layer", "none"] = "batch"
    """What follows each convolution: normalisation over windows and frames, or over features."""
    dropout: Probability = 0.0
    """Dropout after each layer."""

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame."""
        return math.prod(self.of_each("stride"))


class RecurrentConfig(StageConfig):
    """GRU (Cho et al. 2014) or LSTM (Sak et al. 2014) stage."""

    cell: Literal["gru", "lstm"] = "gru"
    """Kind of recurrent cell."""
    layers: Layers = 4
    """Stacked layers. 0: the stage is absent."""
    hidden: PositiveInt = 256
    """Units of each direction."""
    bidirectional: bool = True
    """Also read the window from its end; the output is then 2 x hidden wide."""
    dropout: Probability = 0.0
    """Dropout between layers."""
    layer_norm: bool = False
    """Normalise the stage's output (Ba et al. 2016), which trains much faster on little data."""


class TransformerConfig(StageConfig):
    """Pre-norm transformer encoder stage, Vaswani et al. 2017."""

    layers: Layers = 2
    """Stacked layers. 0: the stage is absent."""
    heads: PositiveInt = 8
    """Attention heads."""
    feedforward: PositiveInt = 512
    """Hidden units of the feed-forward part."""
    dropout: Probability = 0.1
    """Dropout of attention, feed-forward and residual paths."""
    width: PositiveInt | None = None
    """Features it works on; null: as many as it is offered."""
    activation: Literal["relu", "gelu"] = "relu"
    """Nonlinearity of the feed-forward part."""
    positions: Literal["sinusoidal", "rotary"] = "sinusoidal"
    """How frames know their place: sines added to the input, or queries and keys turned by their
    distance (Su et al. 2021), which does not depend on the length of the window."""
    left_context: Count | None = None
    """Frames before its own that each layer attends to; null: all of the window."""
    right_context: Count | None = None
    """Frames after its own that each layer attends to; null: all of the window, 0: causal."""

    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        yield from super().mistakes()
        yield from _undivided(self.width, self.heads, rotary=self.positions == "rotary")


class ConformerConfig(StageConfig):
    """Conformer stage, Gulati et al. 2020 (arXiv:2005.08100), with rotary positions."""

    layers: Layers = 8
    """Blocks of feed-forward, attention, convolution, feed-forward. 0: the stage is absent."""
    heads: PositiveInt = 4
    """Attention heads."""
    feedforward: PositiveInt = 1024
    """Hidden units of each of a block's two feed-forward parts."""
    width: PositiveInt | None = 256
    """Features it works on; null: as many as it is offered."""
    kernel: PositiveInt = 15
    """Width of the depthwise convolution (frames)."""
    stride: PositiveInt = 1
    """Input frames for one of the stage's, taken together at its beginning."""
    dropout: Probability = 0.1
    """Dropout of every part."""
    left_context: Count | None = None
    """Frames before its own that each layer attends to; null: all of the window."""
    right_context: Count | None = None
    """Frames after its own that each layer's attention reaches; its convolution reaches as far, or
    half its kernel where that is less. null: all of the window, 0: causal."""

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame."""
        return self.stride

    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        yield from super().mistakes()
        yield from _undivided(self.width, self.heads, rotary=True)


class S4Config(StageConfig):
    """Diagonal state-space stage: S4D, Gu et al. 2022 (arXiv:2206.11893)."""

    layers: Layers = 4
    """Blocks of state space and gated linear unit, each with a skip connection. 0: absent."""
    width: PositiveInt | None = 256
    """Features it works on; null: as many as it is offered."""
    states: Annotated[Whole, Field(ge=2, multiple_of=2)] = 64
    """States of each feature, in conjugate pairs."""
    bidirectional: bool = True
    """Also run from the window's end; otherwise causal."""
    dropout: Probability = 0.1
    """Dropout of each block."""


class PretrainedConfig(StageConfig):
    """A pretrained language model between two linear bridges, fed with frames for words.

    Needs ``pip install 'emgsearch[pretrained]'`` and the model's files on this machine.
    """

    name: Annotated[str, Field(pattern=r"^[\w./~][\w ./~@+-]*$")] = "gpt2"
    """A model of the Hugging Face hub that this machine has downloaded, or a folder with its
    ``config.json`` and ``model.safetensors``. It may be causal (GPT-2, Llama) or an encoder."""
    layers: Layers = 12
    """Hidden layers used, the first ones. 0: the stage is absent."""
    train_first: Count = 0
    """First layers that are trained; the others stay as they were pretrained."""
    train_last: Count = 0
    """Last layers that are trained."""
    train_norms: bool = False
    """Also train the normalisation of every layer (Lu et al. 2021)."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """``random`` starts from untrained weights: what the architecture is worth by itself."""

    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        yield from super().mistakes()
        if self.train_first + self.train_last > self.layers:
            yield (
                f"train_first {self.train_first} and train_last {self.train_last} are more than "
                f"its {self.layers} layers"
            )


class OwnStage(OwnPart, StageConfig):
    """A stage of the user's own: its code, and its settings as plain values."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def least(cls) -> type[Frozen]:
        """Return the class that settings of a stage derive from."""
        return StageConfig

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame, if the code is loaded."""
        return self._loaded().reduction()

    def mistakes(self) -> Iterator[str]:
        """Yield what its own class finds wrong between values, if the code is loaded."""
        yield from self._loaded().mistakes()

    def _loaded(self) -> StageConfig:
        settings = self.settings() if is_installed(self.code) else StageConfig(layers=self.layers)
        assert isinstance(settings, StageConfig)
        return settings


class EncoderConfig(Frozen):
    """The stages between the MLP and the linear head, and their order.

    A stage of 0 layers is absent: it is dropped from the order and its other parameters are
    forgotten, so that equal architectures are equal configurations. A stage of the user's own has a
    section too, under a name of its own, which says where its code is.
    """

    model_config = ConfigDict(extra="allow")
    if not TYPE_CHECKING:  # which takes it for a field
        __pydantic_extra__: dict[str, Annotated[OwnStage, BeforeValidator(names_code)]]

    order: tuple[StageName, ...] = ("conv",)
    """Stages from input to output, each at most once; a stage named here without a section of its
    own has that section's defaults."""
    transformer: TransformerConfig | None = None
    """The transformer stage."""
    recurrent: RecurrentConfig | None = None
    """The recurrent stage."""
    conv: ConvConfig | None = None
    """The time-depth-separable convolution stage."""
    conv1d: Conv1dConfig | None = None
    """The plain convolution stage."""
    conformer: ConformerConfig | None = None
    """The conformer stage."""
    s4: S4Config | None = None
    """The state-space stage."""
    pretrained: PretrainedConfig | None = None
    """The pretrained language model."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent_stages(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        order = values.get("order", ("conv",))
        if not isinstance(order, list | tuple) or not all(isinstance(name, str) for name in order):
            return values  # the field's own check says what is wrong
        fields = [name for name in cls.model_fields if name != "order"]
        own = [name for name in values if name != "order" and name not in STAGE_NAMES]
        absent = {
            name
            for name in (*STAGE_NAMES, *own)
            if isinstance(stage := values.get(name), dict | Frozen)
            and dict(stage).get("layers") == 0
        }
        known = {*own, *fields} - {*STAGE_NAMES}
        order = [_OwnName(name) if name in known else name for name in order]
        values["order"] = tuple(name for name in order if name not in absent)
        for name in absent:
            values[name] = None
        for name in values["order"]:
            if name in fields and values.get(name) is None:
                values[name] = {}
        return {k: v for k, v in values.items() if v is not None or k in cls.model_fields}

    @model_validator(mode="after")
    def _check_stages(self) -> EncoderConfig:
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order names a stage twice: {', '.join(self.order)}")
        for name, stage in self:
            if isinstance(stage, StageConfig) and name not in self.order:
                raise ValueError(
                    f"stage '{name}' is configured and is not in order ({', '.join(self.order)}): "
                    f"add it to order, give it 'layers: 0', or remove its section"
                )
        mistakes = [f"{name}: {text}" for name, stage in self.stages() for text in stage.mistakes()]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def __hash__(self) -> int:
        return hash((self.order, *(stage for _, stage in self.stages())))

    def stages(self) -> list[tuple[str, StageConfig]]:
        """Return the stages that exist, from input to output, with their configurations."""
        return [(name, getattr(self, name)) for name in self.order]

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame of all stages."""
        return math.prod(stage.reduction() for _, stage in self.stages())
