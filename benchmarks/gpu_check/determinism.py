"""Which trainings give other numbers when they are run again, and by which operations."""

from __future__ import annotations

import functools
import itertools
import re
import warnings

import torch

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values
from benchmarks.gpu_check.configs import small_configs
from emgmodels.config import Config
from emgmodels.training.state import Training
from emgmodels.windows.recording import Recording


def run(check: Check) -> None:
    """Train every configuration twice in each precision."""
    recordings = data.typed(check, 1, 0.5)
    for name, config in itertools.islice(
        small_configs(check.scratch, check.short), 4 if check.short else None
    ):
        check.case(name, functools.partial(again, check, config, recordings))


def again(check: Check, config: Config, recordings: list[Recording]) -> Values:
    """Return whether weights are equal to the last bit, and what PyTorch calls undetermined."""
    found: dict[str, bool | str] = {}
    for precision in ("float32", "bfloat16"):
        values = config.training.model_copy(update={"precision": precision})
        wanted = config.model_copy(update={"training": values})
        first, second = (_trained(check, wanted, recordings) for _ in range(2))
        found[f"{precision} equal"] = all(torch.equal(first[name], second[name]) for name in first)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _trained(check, config, recordings)
    finally:
        torch.use_deterministic_algorithms(False)
    told = (re.match(r"(\S+) does not have a deterministic", str(w.message)) for w in caught)
    found["undetermined"] = ", ".join(sorted({match[1] for match in told if match}))
    return found


def _trained(check: Check, config: Config, recordings: list[Recording]) -> dict[str, torch.Tensor]:
    training = Training(config, check.device)
    training.train_epoch(1, recordings)
    return {name: value.cpu() for name, value in training.model.state_dict().items()}
