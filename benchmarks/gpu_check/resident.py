"""Recordings in the GPU's memory against recordings copied from files, window by window."""

from __future__ import annotations

import functools

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values, set_to
from benchmarks.gpu_check.configs import config
from benchmarks.gpu_check.speed import models
from emgmodels.training.state import Training
from emgmodels.windows import device
from emgmodels.windows.recording import Recording


def run(check: Check) -> None:
    """Measure an epoch both ways, with the baseline and the smallest input."""
    recordings = data.noise(check, 10.0)
    for name, text in list(models(check).items())[:3]:
        check.case(name, functools.partial(both, check, text, recordings))


def both(check: Check, text: str, recordings: list[Recording]) -> Values:
    """Return the seconds of an epoch, resident and streamed."""
    training = Training(config(text), check.device)
    found: dict[str, float] = {}
    for way, share in (("resident", device.LARGEST_SHARE), ("streamed", 0.0)):
        device._loaded.cache_clear()
        with set_to(device, "LARGEST_SHARE", share):
            training.train_epoch(1, recordings)
            taken = check.time(lambda: training.train_epoch(1, recordings), 1.0)
        found[f"{way} (ms an epoch)"] = 1000 * taken
    device._loaded.cache_clear()
    found["streamed / resident"] = found["streamed (ms an epoch)"] / found["resident (ms an epoch)"]
    return found
