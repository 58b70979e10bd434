"""Every stage by its name in a space file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from emgmodels.config import Frozen, OwnStage
from emgmodels.own_code import CodeError, explained, load_class
from emgmodels.saying import counted
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
    """Return a stage of a kind (a key of ``STAGES``), for a width, with its configuration.

    Raises:
        CodeError: it is one of the user's own, and its code is not loaded or fails.
    """
    if isinstance(config, OwnStage):
        return _own_stage(name, width, config)
    return STAGES[name](width, config)


def try_stage(name: str, width: int, config: OwnStage) -> None:
    """Hold a stage of the user's own to what it says of itself, on a few frames.

    Raises:
        CodeError: it fails, its output is not as long or wide as it says, or it looks farther
            ahead.
    """
    with torch.random.fork_rng(devices=[]):
        stage = _own_stage(name, width, config).eval()
    frames = stage.left + stage.right + _TRIED * stage.stride + 1
    expected = (2, stage.output_length(frames), stage.width)
    what, place = f"stage '{name}'", config.code.partition("@")[0]
    with explained(what, config.code), torch.no_grad():
        stage.macs(frames)
        out = stage(torch.zeros(2, frames, width))
        shape = tuple(out.shape)
    if shape != expected:
        raise CodeError(
            f"{what} ({place}): maps (2, {frames}, {width}) to {shape}, and says "
            f"{expected}: correct its width, left, right or stride, or its output"
        )
    with explained(what, config.code), torch.no_grad():
        ahead = _seen_ahead(stage, width)
    if ahead > stage.lookahead:
        raise CodeError(
            f"{what} ({place}): an output depends on {counted(ahead, 'frame')} after its own at "
            f"least, and it says lookahead {stage.lookahead:g}: set self.lookahead to what all its "
            f"layers see, float('inf') where that is everything"
        )


def _seen_ahead(stage: Stage, width: int) -> int:
    """Return frames after its own that an output depends on, as far as these few frames tell."""
    if stage.lookahead == math.inf:
        return 0
    outputs = 2 * (_TRIED + math.ceil(stage.lookahead / stage.stride))
    frames = stage.left + stage.right + outputs * stage.stride
    if frames > stage.longest:
        return 0
    cut = stage.left + outputs // 2 * stage.stride
    before = torch.randn(1, frames, width, generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[:, cut:] = torch.randn(1, frames - cut, width, generator=torch.Generator().manual_seed(1))
    # Sums over other numbers of frames may round otherwise.
    differs = ~torch.isclose(stage(before), stage(after), rtol=1e-3, atol=1e-4).all(2)[0]
    changed = differs.nonzero()
    return cut - stage.left - int(changed[0]) * stage.stride if len(changed) else 0


_TRIED = 16
"""Output frames on which a stage is tried, and one more."""


def _own_stage(name: str, width: int, config: OwnStage) -> Stage:
    what = f"stage '{name}'"
    kind = load_class(config.code, Stage, what, "emgmodels.stages.stage.Stage")
    with explained(what, config.code):
        if kind.__init__ is Stage.__init__:  # without settings that it would need
            return kind(width)
        return kind(width, config.settings())
