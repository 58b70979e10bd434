"""The part of a training step that its input takes, on one torch thread and on one a core.

Input is what cuts windows out of recordings, transforms and masks them. The step has all of that,
the model forward and backward, and the optimizer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks import data
from benchmarks.gpu_check.speed import input_alone
from benchmarks.measure import Figure, Scope
from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.saying import counted
from emgmodels.training.state import Training
from emgmodels.windows.cache import prepare

_DEMO = "norm:bin mlp:48 bins:8 hop:64 @16ch"
MODELS = {
    "the baseline": ("conv:4 @16ch", 32, "at most 2 %"),
    "the demo's first": (
        "gru:2(hidden=64,layer_norm=true) transformer:1(heads=4,feedforward=128) "
        f"conv:3(channels=8,kernel=8) {_DEMO}",
        8,
        "at most 10 %",
    ),
    "the demo's second": (
        f"gru:2(hidden=96,bidirectional=false,layer_norm=true) conv:3(channels=8,kernel=8) {_DEMO}",
        8,
        "at most 10 %",
    ),
}
"""Architecture, windows a step, and what is wanted."""
_SHORT = "conv:1(channels=4,kernel=5) mlp:16"


def run(scope: Scope) -> Iterator[Figure]:
    """Measure each model with each number of threads; all take turns."""
    # As many steps as take no longer than the baseline's one.
    minutes = 0.3 if scope.short else 32 * 4 / 60 + 0.1
    recordings = prepare(data.sessions(1, minutes))
    many = (1,) if scope.short else sorted({1, os.cpu_count() or 1})
    for name, (text, windows, wanted) in MODELS.items():
        model = parse_notation(_SHORT if scope.short else text)
        config = Config.model_validate({"model": model, "training": {"batch_size": windows}})
        training = Training(config, torch.device("cpu"))
        parts: dict[str, Callable[[], object]] = {
            "input": input_alone(training, recordings),
            "epoch": partial(training.train_epoch, 1, recordings),
        }
        timed = {
            f"{part}, {threads}": _with(threads, run)
            for threads in many
            for part, run in parts.items()
        }
        found = scope.interleave(timed, rates={})
        for threads in many:
            share = 100 / found.ratio(f"epoch, {threads}", f"input, {threads}")
            yield Figure(
                f"input of {name}, {counted(threads, 'thread')}",
                value=share,
                unit="% of a step",
                wanted=wanted,
                note=f"{counted(windows, 'window')} a step",
            )
    torch.set_num_threads(scope.threads)


def _with(threads: int, run: Callable[[], object]) -> Callable[[], object]:
    """Return what runs with so many torch threads."""

    def once() -> object:
        torch.set_num_threads(threads)
        return run()

    return once
