"""The compact notation of an architecture: ``transformer:2 gru:4(hidden=128) conv:4 @16ch``.

Stages stand from input to output as ``name:layers``, a recurrent stage under the name of its cell.
Settings that differ from the default follow in parentheses. ``@16ch`` are the electrodes of each
band; ``mlp:384``, ``norm:electrode``, ``hop:16``, ``n_fft:64`` and ``bins:33`` stand where they
differ from the default. An encoder without any stage is ``none``.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from emgmodels.config import (
    EncoderConfig,
    FeaturesConfig,
    Frozen,
    ModelConfig,
    RecurrentConfig,
    explain,
)

CELLS: tuple[str, ...] = get_args(RecurrentConfig.model_fields["cell"].annotation)
_STAGES = [name for name in EncoderConfig.model_fields if name != "order"]
_TOKEN = re.compile(r"(?P<name>[a-z_]+):(?P<value>\w+)(?:\((?P<settings>[^()]*)\))?")
_ELECTRODES = re.compile(r"@(\d+)ch")


def notation(model: ModelConfig, *, brief: bool = False) -> str:
    """Return the compact notation of an architecture.

    Args:
        model: the architecture.
        brief: leave out settings in parentheses, MLP and spectrogram; short enough for a table,
            and no longer enough to build the same model.
    """
    parts = [_stage(name, config, brief) for name, config in model.encoder.stages()] or ["none"]
    if not brief:
        default = ModelConfig()
        if model.mlp_features != default.mlp_features:
            parts.append(f"mlp:{model.mlp_features}")
        if model.norm != default.norm:
            parts.append(f"norm:{model.norm}")
        for name in FeaturesConfig.model_fields:
            value = getattr(model.features, name)
            if value != getattr(default.features, name):
                parts.append(f"{name}:{value}")
    return " ".join([*parts, f"@{model.electrodes}ch"])


def parse_notation(text: str) -> ModelConfig:
    """Return the architecture that a compact notation names.

    Raises:
        ValueError: a part is not understood or a setting is not allowed.
    """
    values: dict[str, Any] = {"encoder": {"order": []}}
    for token in re.findall(r"[^\s()]+(?:\([^()]*\))?", text):
        if electrodes := _ELECTRODES.fullmatch(token):
            values["electrodes"] = int(electrodes[1])
        elif token != "none":
            _read_token(token, text, values)
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, repr(text)))) from None


def _stage(name: str, config: Frozen, brief: bool) -> str:
    values = config.model_dump()
    label = values.pop("cell", name)
    layers = values.pop("layers")
    default = type(config)()
    settings = [f"{k}={_scalar(v)}" for k, v in values.items() if v != getattr(default, k)]
    return f"{label}:{layers}" + (f"({','.join(settings)})" if settings and not brief else "")


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value).splitlines()[0]


def _read_token(token: str, text: str, values: dict[str, Any]) -> None:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(
            f"{text!r}: {token!r} is not understood: write stages as name:layers, for example "
            f"'transformer:2 gru:4(hidden=128) conv:4 @16ch'"
        )
    name, value = match["name"], yaml.safe_load(match["value"])
    settings = _settings(match["settings"] or "", token, text)
    if name == "mlp":
        values["mlp_features"] = value
    elif name == "norm":
        values["norm"] = value
    elif name in FeaturesConfig.model_fields:
        values.setdefault("features", {})[name] = value
    elif name in CELLS or name in _STAGES:
        stage = "recurrent" if name in CELLS else name
        if stage in values["encoder"]:
            raise ValueError(f"{text!r}: the {stage} stage stands there twice")
        cell = {"cell": name} if name in CELLS else {}
        values["encoder"]["order"].append(stage)
        values["encoder"][stage] = {**cell, "layers": value, **settings}
    else:
        known = [*_STAGES, *CELLS, "mlp", "norm", *FeaturesConfig.model_fields]
        raise ValueError(f"{text!r}: {name!r} is not known: it is one of {', '.join(known)}")


def _settings(text: str, token: str, whole: str) -> dict[str, Any]:
    settings = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{whole!r}: {part!r} in {token!r} is not key=value")
        settings[key.strip()] = yaml.safe_load(value)
    return settings
