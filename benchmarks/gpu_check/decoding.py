"""Validation, reading a session and decoding: seconds for the EMG of ten minutes."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.beam_search import typing
from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values
from benchmarks.gpu_check.configs import config
from benchmarks.gpu_check.speed import models
from emgmodels.ctc import BeamSearch, greedy_decode
from emgmodels.reading.sessions import emit
from emgmodels.training.state import Training
from emgmodels.windows.recording import Recording


def run(check: Check) -> None:
    """Measure each large model, then decoding by itself."""
    (recording,) = data.noise(check, 10.0)
    for name, text in models(check).items():
        check.case(
            f"{name}: validation and reading", functools.partial(read, check, text, recording)
        )
    check.case("beam search, no language model", lambda: beam(check))


def read(check: Check, text: str, recording: Recording) -> Values:
    """Return the seconds of a validation, of reading the session, and of its greedy decoding."""
    training = Training(config(text), check.device)
    training.validate([recording])
    minutes = recording.samples / 2000 / 60
    found = {"validation (s)": check.time(lambda: training.validate([recording]), 0.5)}
    settings = training.config.training
    emitted = emit(training.model, recording, settings, "stitched")
    found["stitched emissions (s)"] = check.time(
        lambda: emit(training.model, recording, settings, "stitched"), 0.5
    )
    log_probs = emitted.log_probs[0][None].to(check.device)
    found["greedy decoding (s)"] = check.time(lambda: greedy_decode(log_probs), 0.2)
    found["minutes of EMG"] = minutes
    return found


def beam(check: Check) -> Values:
    """Return the frames a second of beam search on emissions as a trained model gives them."""
    frames = 60 if check.short else 1000
    labels = np.random.default_rng(0).integers(26, size=frames // 28 + 1).tolist()
    log_probs = typing(labels, frames, np.random.default_rng(0))
    search = BeamSearch()
    search.decode(log_probs)
    return {"frames/s": frames / check.time(lambda: search.decode(log_probs), 0.5)}
