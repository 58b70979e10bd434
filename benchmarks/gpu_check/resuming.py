"""A training that is resumed goes on with the same numbers; checkpoints move between devices."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

import emgmodels
from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values
from benchmarks.gpu_check.configs import config
from emgmodels.config import Config
from emgmodels.training.fit import fit
from emgmodels.training.result import EpochResult
from emgmodels.windows.recording import Recording

MODELS = {
    "conv": "conv:2(channels=8,kernel=8) mlp:48 norm:bin hop:64 bins:8",
    "gru": "gru:2(hidden=48) mlp:48 norm:bin hop:64 bins:8",
    "conformer": "conformer:2(width=48,feedforward=96,kernel=7) mlp:48 norm:bin hop:64 bins:8",
}
NEAR = 1e-2
"""Largest relative difference of a loss where equal sums are added in another order."""
_NUMBERS = ("train_loss", "val_loss", "val_cer", "learning_rate")


def run(check: Check) -> None:
    """Resume, and move checkpoints, for models of each kind of layer."""
    train, val = data.typed(check, 2, 0.5)
    for name, text in itertools.islice(MODELS.items(), 1 if check.short else None):
        for precision in ("float32", "bfloat16"):
            wanted = config(text, precision=precision, epochs=2, batch_size=4, window_seconds=2)
            check.case(
                f"{name}, {precision}: resumed after an epoch",
                functools.partial(resumed, wanted, train, val, check.device, check.device),
            )
        wanted = config(text, precision="float32", epochs=2, batch_size=4, window_seconds=2)
        cpu = torch.device("cpu")
        for first, then in ((check.device, cpu), (cpu, check.device)):
            check.case(
                f"{name}: begun on {first.type}, resumed on {then.type}",
                functools.partial(resumed, wanted, train, val, first, then),
            )


def resumed(
    config: Config,
    train: Recording,
    val: Recording,
    first: torch.device,
    then: torch.device,
) -> Values:
    """Return how the second epoch differs from that of a training without a break."""
    whole = list(fit(config, [train], [val], device=then if first == then else first))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        for result in fit(config, [train], [val], device=first):
            result.save(path)
            break
        after = list(fit(config, [train], [val], resume=path, device=then))
        assert [each.epoch for each in after] == [2]
        reader = emgmodels.load(path)
        text = reader(val.emg.transpose(2, 0, 1)[: 2 * 2000])
        assert isinstance(text, str)
    return {"equal to the last bit": _equal(whole[-1:], after), **_differences(whole[-1], after[0])}


def _equal(one: Sequence[EpochResult], other: Sequence[EpochResult]) -> bool:
    return [_numbers(each) for each in one] == [_numbers(each) for each in other]


def _numbers(result: EpochResult) -> dict[str, float]:
    return {name: getattr(result, name) for name in _NUMBERS}


def _differences(one: EpochResult, other: EpochResult) -> Values:
    found = {}
    for name in ("train_loss", "val_loss"):
        expected, value = getattr(one, name), getattr(other, name)
        found[name] = abs(value - expected) / abs(expected)
        assert found[name] <= NEAR, f"{name}: {expected} without a break, {value} resumed"
    return found
