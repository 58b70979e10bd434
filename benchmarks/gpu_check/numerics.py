"""Every stage, front end, augmentation and training setting: the GPU against the CPU.

In float32 the same batch gives the same emissions and gradients, and an epoch the same losses,
within the tolerances below. In bfloat16 what is learnt is finite, and the loss of training falls.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values, set_to
from benchmarks.gpu_check.configs import small_configs
from emgmodels.config import Config
from emgmodels.ctc import ctc_loss
from emgmodels.training.state import Training
from emgmodels.windows.batches import batches, window_starts
from emgmodels.windows.cut import Batch
from emgmodels.windows.recording import Recording

EXACT = {"emissions": 1e-4, "gradients": 2e-3}
"""Largest relative difference of log-probabilities and of all gradients as one vector,
|a - b| / |b|, where cuDNN computes in float32."""
USUAL = {"emissions": 3e-3, "gradients": 3e-2}
"""The same as trainings run: cuDNN's convolutions and recurrent layers may take TF32, with 10 bits
of a factor."""
LOSSES = 1e-2
"""Of the mean loss of three steps, which start to differ where gradients near zero differ in sign,
and of the loss in validation after them."""
FALL = 0.9
"""In bfloat16, the last epoch's loss is below this part of the first one's."""
EPOCHS = 10


def run(check: Check) -> None:
    """Compare every configuration, in a short check every third, and train it in bfloat16."""
    recordings = data.typed(check, 1, 0.5)
    configs = small_configs(check.scratch, check.short)
    for name, config in itertools.islice(configs, 0, None, 3 if check.short else 1):
        check.case(name, functools.partial(compare, check, config, recordings))


def compare(check: Check, config: Config, recordings: list[Recording]) -> Values:
    """Return how far the GPU is from the CPU, and what the loss falls to in bfloat16."""
    exact = config.training.model_copy(update={"precision": "float32"})
    config = config.model_copy(update={"training": exact})
    here, there = Training(config, torch.device("cpu")), Training(config, check.device)
    values: dict[str, float] = {}
    if not any(getattr(stage, "dropout", 0) for _, stage in config.model.encoder.stages()):
        with set_to(torch.backends.cudnn, "allow_tf32", False):
            values |= distances(here, there, recordings, EXACT, "")
        if check.on_gpu:
            values |= distances(here, there, recordings, USUAL, " as trained")
        losses = [run.train_epoch(1, recordings) for run in (here, there)]
        values["loss"] = _within("loss of an epoch", losses[1], losses[0])
        losses = [run.validate(recordings)[0] for run in (here, there)]
        values["validation"] = _within("loss of validation", losses[1], losses[0])
    return {**values, **learn(check, config, recordings)}


def distances(
    here: Training,
    there: Training,
    recordings: list[Recording],
    limits: Mapping[str, float],
    how: str,
) -> dict[str, float]:
    """Return the relative distances of a batch's emissions and gradients, or fail."""
    windows = window_starts(recordings, here.feed.train_cut.window)[:4]
    cut = here.feed.train_cut
    (batch,) = batches(recordings, windows, len(windows), cut, np.random.default_rng(0))
    found = {}
    for what, expected, other in zip(
        limits, _gradients(here, batch), _gradients(there, batch), strict=True
    ):
        distance = float((other - expected).norm() / expected.norm())
        assert distance <= limits[what], f"{what}{how} differ by {distance:.3g}"
        found[what + how] = distance
    return found


def learn(check: Check, config: Config, recordings: list[Recording]) -> Values:
    """Return how far the loss falls in bfloat16."""
    reduced = config.training.model_copy(update={"precision": "bfloat16", "epochs": EPOCHS})
    training = Training(config.model_copy(update={"training": reduced}), check.device)
    epochs = range(1, 3 if check.short else EPOCHS + 1)
    losses = [training.train_epoch(epoch, recordings) for epoch in epochs]
    assert all(map(math.isfinite, losses)), f"bfloat16: losses {losses}"
    if not check.short:
        assert losses[-1] < FALL * losses[0], f"bfloat16: the loss does not fall: {losses}"
    return {"bfloat16 first loss": losses[0], "bfloat16 last loss": losses[-1]}


def _gradients(run: Training, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return emissions and all gradients of a batch, on the CPU; the run's weights stay."""
    run.model.train()
    frozen = {k: v.clone() for k, v in run.model.state_dict().items()}  # batch statistics too
    log_probs = run.model(run.model.spectrogram(batch.to(run.device).emg))
    ctc_loss(log_probs, batch.labels, batch.label_lengths).backward()
    gradients = [p.grad.flatten() for p in run.trained if p.grad is not None]
    found = log_probs.detach().cpu(), torch.cat(gradients).cpu()
    run.optimizer.zero_grad(set_to_none=True)
    run.model.load_state_dict(frozen)
    return found


def _within(what: str, found: float, expected: float) -> float:
    """Return the relative difference of two losses, or fail."""
    difference = abs(found - expected) / abs(expected)
    assert difference <= LOSSES, f"{what}: {found} on the GPU, {expected} on the CPU"
    return difference
