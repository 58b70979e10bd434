"""The compact notation of an architecture: ``transformer:2 gru:4(hidden=128) conv:4 @16ch``.

Stages stand from input to output as ``name:layers``, a recurrent stage under the name of its cell.
A stage may stand there more than once: ``conv:2 gru:3 conv:2``.
Settings that differ from the default follow in parentheses; a setting of each layer is written
``channels=512/1024/1024``. ``@16ch`` are the electrodes of each band, ``@8ch:contiguous`` and
``@16ch:left`` say which. ``mlp:384`` and, under their names in the configuration, the other
settings of front end and features (``norm:bin``, ``hop:32``, ``filters:learned``) stand where they
differ from the default. An encoder without any stage is ``none``.
"""

from __future__ import annotations

import functools
import re
from typing import Any, get_args

from pydantic import ValidationError

from emgmodels.config import (
    FeaturesConfig,
    ModelConfig,
    OwnStage,
    RecurrentConfig,
    StageConfig,
    explain,
    read_yaml,
    section_kind,
    similar,
    validated,
    write_yaml_line,
)
from emgmodels.config.stage_names import numbered, stage_of
from emgmodels.own_code import is_installed

CELLS: tuple[str, ...] = get_args(RecurrentConfig.model_fields["cell"].annotation)
FRONT = {
    {"mlp_features": "mlp"}.get(name, name): name
    for name in ModelConfig.model_fields
    if name not in ("electrodes", "electrode_choice", "features", "encoder")
}
"""Settings of the model that stand by themselves: name in the notation, name in the config."""
RESERVED = ("none", *CELLS, *FRONT, *FeaturesConfig.model_fields)
"""Names that no stage can have."""
_TOKEN = re.compile(r"(?P<name>\w+):(?P<value>[\w.]+)(?:\((?P<settings>[^()]*)\))?")
_ELECTRODES = re.compile(r"@(\d+)ch(?::(\w+))?")
_PER_LAYER = re.compile(r"\d+(/\d+)+")


def notation(model: ModelConfig, *, brief: bool = False) -> str:
    """Return the compact notation of an architecture.

    Args:
        model: the architecture.
        brief: leave out settings in parentheses, MLP and spectrogram; short enough for a table,
            and no longer enough to build the same model.
    """
    encoder = model.encoder
    kinds = zip(encoder.kinds(), encoder.stages(), strict=True)
    parts = [_stage(kind, config, brief) for kind, (_, config) in kinds] or ["none"]
    default = _default()
    if not brief:
        settings = [(short, getattr(model, n), getattr(default, n)) for short, n in FRONT.items()]
        settings += [
            (name, getattr(model.features, name), getattr(default.features, name))
            for name in FeaturesConfig.model_fields
        ]
        parts += [f"{name}:{_scalar(value)}" for name, value, usual in settings if value != usual]
    electrodes = f"@{model.electrodes}ch"
    if model.electrode_choice != default.electrode_choice:
        electrodes += f":{model.electrode_choice}"
    return " ".join([*parts, electrodes])


def brief_notation(text: str) -> str:
    """Return what ``notation`` gives as brief, of an architecture in compact notation.

    Stages of the user's own need not be known.
    """
    words = re.sub(r"\([^()]*\)", "", text).split()
    others = {*FRONT, *FeaturesConfig.model_fields}
    return " ".join(word for word in words if word.partition(":")[0] not in others)


def parse_notation(text: str, kind: type[ModelConfig] = ModelConfig) -> ModelConfig:
    """Return the architecture that a compact notation names.

    Args:
        text: the notation.
        kind: the class of the architecture, which may have stages of the user's own.

    Raises:
        ValueError: a part is not understood or a setting is not allowed.
    """
    values: dict[str, Any] = {"encoder": {"order": []}}
    tokens = re.compile(r"[^\s()]+(?:\([^()]*\))?")
    if rest := tokens.sub("", text).strip():
        raise ValueError(f"{text!r}: {rest!r} is not understood: write settings as gru:4(hidden=8)")
    for token in tokens.findall(text):
        if electrodes := _ELECTRODES.fullmatch(token):
            if "electrodes" in values:
                raise ValueError(f"{text!r}: the electrodes stand there twice")
            values["electrodes"] = int(electrodes[1])
            if electrodes[2] is not None:
                values["electrode_choice"] = electrodes[2]
        elif token != "none":
            _read_token(token, text, values, _stages_of(kind))
    try:
        return validated(kind, values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, repr(text), kind))) from None


def _stages_of(kind: type[ModelConfig]) -> list[str]:
    encoder = section_kind(kind, "encoder")
    assert encoder is not None
    return [name for name in encoder.model_fields if name != "order"]


@functools.cache
def _default() -> ModelConfig:
    return ModelConfig()


def _stage(name: str, config: StageConfig, brief: bool) -> str:
    # What is usual for a stage of the user's own depends on whether its code is there.
    write = _write_stage.__wrapped__ if isinstance(config, OwnStage) else _write_stage
    return write(name, config, brief)


# A search names each of its thousands of architectures a dozen times, of the same few stages.
@functools.lru_cache(maxsize=4096)
def _write_stage(name: str, config: StageConfig, brief: bool) -> str:
    values = config.model_dump()
    label = values.pop("cell", name) if isinstance(config, RecurrentConfig) else name
    layers = values.pop("layers")
    usual = _usual(config)
    settings = [f"{k}={_scalar(v)}" for k, v in values.items() if v != usual.get(k, ...)]
    return f"{label}:{layers}" + (f"({','.join(settings)})" if settings and not brief else "")


def _usual(config: StageConfig) -> dict[str, Any]:
    """Return the defaults of a stage's settings, as far as they are known in this process."""
    if not isinstance(config, OwnStage):
        return type(config)().model_dump()
    known = {"code": config.code}
    if not is_installed(config.code):
        return known
    fields = type(config.settings()).model_fields
    return known | {name: field.default for name, field in fields.items()}


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return write_yaml_line(value)


def _read_scalar(key: str, text: str, whole: str) -> Any:
    if _PER_LAYER.fullmatch(text) and key != "name":  # which may be a folder such as 7/8
        return tuple(map(int, text.split("/")))
    return read_yaml(text, f"{whole!r}: {key}", key=key)


def _read_token(token: str, text: str, values: dict[str, Any], stages: list[str]) -> None:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(
            f"{text!r}: {token!r} is not understood: write stages as name:layers, for example "
            f"'transformer:2 gru:4(hidden=128) conv:4 @16ch'"
        )
    name = match["name"]
    value = _read_scalar(name, match["value"], text)
    settings = _settings(match["settings"] or "", token, text)
    if name in FRONT or name in FeaturesConfig.model_fields:
        place = values if name in FRONT else values.setdefault("features", {})
        field = FRONT.get(name, name)
        if settings:
            raise ValueError(f"{text!r}: {name} has no settings in parentheses: write {name}:VALUE")
        if field in place:
            raise ValueError(f"{text!r}: {name} stands there twice")
        place[field] = value
    elif name in CELLS or name in stages:
        placed = values["encoder"]["order"]
        stages_so_far = [stage_of(each, stages) for each in placed]
        *_, stage = numbered([*stages_so_far, "recurrent" if name in CELLS else name])
        cell = {"cell": name} if name in CELLS else {}
        placed.append(stage)
        named = {**cell, "layers": value}
        if twice := named.keys() & settings.keys():
            raise ValueError(f"{text!r}: {token!r} gives {', '.join(sorted(twice))} twice")
        values["encoder"][stage] = {**named, **settings}
    else:
        known = [*stages, *CELLS, *FRONT, *FeaturesConfig.model_fields]
        raise ValueError(f"{text!r}: {name!r} is not known{similar(name, known)}")


def _settings(text: str, token: str, whole: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{whole!r}: {part!r} in {token!r} is not key=value")
        if (key := key.strip()) in settings:
            raise ValueError(f"{whole!r}: {token!r} gives {key} twice")
        settings[key] = _read_scalar(key, value.strip(), whole)
    return settings
