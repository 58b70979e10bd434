"""The stages that an encoder can have, and their order."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    ConfigDict,
    Field,
    SerializeAsAny,
    WrapValidator,
    model_validator,
)
from typing_extensions import override

from emgmodels.config.arrangement import (
    Repeat,
    canonical,
    check_numbers,
    layers_of,
    section_of_name,
    stages_of_names,
)
from emgmodels.config.base import (
    Count,
    Frozen,
    Kernels,
    PerLayer,
    PositiveInt,
    Probability,
    Whole,
    section_kind,
)
from emgmodels.config.own import OwnPart
from emgmodels.config.stage import Layers, StageConfig, undivided
from emgmodels.config.stage_names import OwnName, name_type, stage_of
from emgmodels.own_code import is_installed
from emgmodels.saying import counted

BuiltIn = Literal["transformer", "recurrent", "conv", "conv1d", "conformer", "s4", "pretrained"]
STAGE_NAMES: tuple[str, ...] = get_args(BuiltIn)
"""Every stage of this project, by its name in ``order``."""


def stage_name(own: Sequence[str] = ()) -> Any:
    """Return the type of a stage's name: this project's, or one of the user's own.

    Args:
        own: the user's own that may be named without a section.
    """
    return name_type((*STAGE_NAMES, *own))


if TYPE_CHECKING:
    StageName = str
else:
    StageName = stage_name()


class ConvConfig(StageConfig):
    """Time-depth-separable convolution (TDS) stage, Hannun et al. 2019."""

    layers: Layers = 4
    """Blocks; each consumes kernel - 1 frames of context. 0: the stage is absent."""
    channels: PerLayer = 24
    """Channels the features are divided into by every block, or by each: ``[24, 24, 48, 48]``. The
    rest of the width is not mixed over time."""
    kernel: Kernels = 32
    """Width of the temporal convolution (frames). `8+32`: two side by side, each of which makes
    half of the channels from all of them; the widest says what the stage consumes."""
    causal: bool = False
    """Take all context from the past; otherwise a tenth of it lies in the future."""

    @property
    def kernels(self) -> tuple[int, ...]:
        """Widths of the temporal convolutions side by side, the widest last (frames)."""
        return tuple(map(int, str(self.kernel).split("+")))

    @override
    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        yield from super().mistakes()
        least = min(self.of_each("channels"), default=len(self.kernels))
        if len(self.kernels) > least:
            yield (
                f"kernel {self.kernel} are {counted(len(self.kernels), 'convolution')} for "
                f"{counted(least, 'channel')}: take as many channels or more, or fewer kernels"
            )


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
        yield from undivided(self.width, self.heads, rotary=self.positions == "rotary")


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
        yield from undivided(self.width, self.heads, rotary=True)


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

    Needs transformers, which the extra ``pretrained`` installs, and the model's files here.
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
                f"its {counted(self.layers, 'layer')}"
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

    A stage may stand in the order more than once: ``conv``, ``conv_2``, ``conv_3``, each with a
    section. They are numbered from input to output, whichever of them are absent.
    """

    model_config = ConfigDict(extra="allow")
    if not TYPE_CHECKING:  # which takes it for a field
        __pydantic_extra__: dict[
            str, Annotated[SerializeAsAny[OwnStage], WrapValidator(section_of_name)]
        ]

    order: tuple[StageName, ...] = ("conv",)
    """Stages from input to output; a second `conv` is called `conv_2` and has a section of that
    name. Any other stage without a section has its defaults."""
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

    @override
    @classmethod
    def field_of(cls, key: str) -> str | None:
        """Return the field that has a key's section: ``conv`` for ``conv_2``."""
        return super().field_of(key) or super().field_of(stage_of(key, cls.stage_fields()))

    @classmethod
    @functools.cache
    def stage_fields(cls) -> tuple[str, ...]:
        """Return the stages that have a field."""
        return tuple(name for name in cls.model_fields if name != "order")

    @model_validator(mode="before")
    @classmethod
    def _arrange(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        order = values.get("order", ("conv",))
        if not isinstance(order, list | tuple) or not all(isinstance(name, str) for name in order):
            return values  # the field's own check says what is wrong
        sections = {name: value for name, value in values.items() if name != "order"}
        fields = cls.stage_fields()
        stages = stages_of_names(cls, [*order, *sections], sections)
        if len(set(order)) == len(order):  # else the check of all together says so
            absent = {name for name, value in sections.items() if layers_of(value) == 0}
            check_numbers(order, stages, sections, absent)
            order, sections = canonical(fields, order, stages, sections, absent)
        own = {name for name in fields if name not in STAGE_NAMES}
        own |= {n for n, value in sections.items() if value is not None and n not in fields}
        given: dict[str, Any] = {}
        for name in dict.fromkeys([*sections, *order]):
            value = sections.get(name)
            if name in fields:
                given[name] = {} if value is None and name in order else value
            elif value is not None:
                stage = stages.get(name, name)
                kind = section_kind(cls, stage) if stage != name and stage in fields else None
                given[name] = Repeat(kind, value) if kind is not None else value
        return {"order": tuple(OwnName(n) if n in own else n for n in order), **given}

    @model_validator(mode="after")
    def _check_stages(self) -> EncoderConfig:
        for name in self.order:
            if self.order.count(name) > 1:
                raise ValueError(
                    f"order names a stage twice: {', '.join(self.order)}: a second {name} is "
                    f"{name}_2 there, and has a section {name}_2: {{...}}"
                )
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

    def kinds(self) -> list[str]:
        """Return what the stages are, from input to output: ``conv`` of ``conv_2`` too."""
        sections = dict(self.stages())
        return list(stages_of_names(type(self), self.order, sections).values())

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame of all stages."""
        return math.prod(stage.reduction() for _, stage in self.stages())
