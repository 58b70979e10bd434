"""A validation pass of the report's baseline, beside a training step on as many windows.

Both from recordings to what is reported: cutting, features, forward; then greedy decoding and edit
counts, or augmentation, backward and Adam. The floor is the multiply-accumulates of the forward
pass at the rate of a large matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks import data
from benchmarks.measure import Figure, Scope
from emgmodels.compute.onednn import fast_products
from emgmodels.config import Config
from emgmodels.metrics import count_edits
from emgmodels.notation import parse_notation
from emgmodels.saying import counted
from emgmodels.training.state import Training
from emgmodels.windows.cache import prepare


def run(scope: Scope) -> Iterator[Figure]:
    """Measure one pass over as many windows as a step has."""
    text = "conv:1(channels=4,kernel=5) mlp:16" if scope.short else "conv:4 @16ch"
    windows = 4 if scope.short else 32
    config = Config(model=parse_notation(text))
    recordings = prepare(data.sessions(1, (4 * windows + 0.5) / 60))
    training = Training(config, torch.device("cpu"))

    def train() -> None:
        with fast_products(torch.device("cpu")):
            training.train_epoch(1, recordings)

    def validate() -> None:
        with fast_products(torch.device("cpu")):
            _, readings = training.validate(recordings)
        assert len(readings) == windows
        for typed, read in readings:
            count_edits(read, typed)

    timings = scope.interleave({"train": train, "validate": validate})
    share = 1 / timings.ratio("train", "validate")
    frames = training.model.spectrogram.frames(training.feed.val_framing.samples)
    floor = timings.floor(2 * windows * training.model.macs(frames))
    yield Figure(
        f"validation pass, {counted(windows, 'window')}",
        value=timings.median("validate"),
        unit="s",
        reference=timings.median("train"),
        ratio=1 / share,
        wanted="2.5 x (at most 0.4 of the step)",
        floor=floor,
        share=floor / timings.median("validate"),
        note=f"{share:.2f} of the training step's time; reference: the step",
    )
