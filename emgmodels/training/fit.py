"""The training loop as a generator: one result an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from emgmodels.checkpoints.start import Start
from emgmodels.compute.devices import find_device
from emgmodels.config import Config
from emgmodels.scoring import RankBy, Scoring
from emgmodels.training.result import EpochResult
from emgmodels.training.state import Training
from emgmodels.windows.batches import window_starts
from emgmodels.windows.prompts import with_shifts
from emgmodels.windows.recording import VALIDATION_SECONDS, Recording, check_recordings
from emgmodels.windows.users import users_of_windows


def fit(
    config: Config,
    train: Sequence[Recording],
    val: Sequence[Recording],
    resume: Path | None = None,
    device: str | torch.device = "cpu",
    tell: Callable[[int, float], None] | None = None,
    rank_by: RankBy | None = None,
    start: Start | None = None,
) -> Iterator[EpochResult]:
    """Train a model and yield the result of each epoch.

    The randomness of an epoch follows from the seed and the epoch alone. So a resumed training goes
    on with the same numbers as an uninterrupted one. A loss that is not finite ends the training
    with the epoch that shows it.

    Args:
        config: architecture, training and seed.
        train: recordings to train on.
        val: recordings to validate on.
        resume: checkpoint to go on from, written by ``EpochResult.save``.
        device: where to train.
        tell: told after each step the epoch and the share of it that is trained, for a person
            who waits.
        rank_by: the CER that decides which epoch is the best; None: of several validation users
            the mean over them.
        start: the checkpoint that ``training.start_from`` names; None: read from its path.

    Raises:
        ValueError: a recording set holds no window or no key in its windows, the model takes none
            of the training windows, a checkpoint is damaged or does not fit, or there is no such
            device.
    """
    # Before the model is built, which may take seconds, and inside the generator, so at the first
    # epoch.
    check_recordings(train, "training", config.training.window_seconds)
    check_recordings(val, "validation", VALIDATION_SECONDS)
    scoring = Scoring.of(users_of_windows(val), rank_by)
    run = Training(config, find_device(device))
    if resume is None:
        run.begin(start)
    if not (len(window_starts(train, run.feed.train_cut.window)) or len(run.feed.prompts(train))):
        raise ValueError(
            "the model takes none of the training prompts at once: take a larger hop or stride, or "
            "show shorter prompts"
        )
    train = with_shifts(tuple(train))
    run.sessions = {"train": [r.name for r in train], "val": [r.name for r in val]}
    if resume is not None:
        run.load(resume)
    # A generator: a scheduler stops a training by not asking for the next epoch.
    for epoch in range(run.epoch + 1, config.training.epochs + 1):
        result = run.through(epoch, train, val, scoring, tell)
        yield result
        # After the result was handed out, so that a table shows at which epoch the loss was lost.
        if not (math.isfinite(result.train_loss) and math.isfinite(result.val_loss)):
            return
