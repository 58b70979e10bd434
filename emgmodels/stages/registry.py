"""Every stage by its name in a space file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emgmodels.config import Frozen
from emgmodels.stages.conformer import ConformerStage
from emgmodels.stages.conv1d import Conv1dStage
from emgmodels.stages.pretrained import PretrainedStage
from emgmodels.stages.recurrent import RecurrentStage
from emgmodels.stages.s4 import S4Stage
from emgmodels.stages.stage import Stage
from emgmodels.stages.tds import ConvStage
from emgmodels.stages.transformer import TransformerStage

STAGES: dict[str, Callable[[int, Any], Stage]] = {
    "transformer": TransformerStage,
    "recurrent": RecurrentStage,
    "conv": ConvStage,
    "conv1d": Conv1dStage,
    "conformer": ConformerStage,
    "s4": S4Stage,
    "pretrained": PretrainedStage,
}
"""Every stage that an encoder can have, by its name in the configuration."""


def build_stage(name: str, width: int, config: Frozen) -> Stage:
    """Return a stage of a kind (a key of ``STAGES``), for a width, with its configuration."""
    return STAGES[name](width, config)
