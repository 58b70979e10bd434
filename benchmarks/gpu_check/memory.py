"""Memory of trainings: the estimate against the peak, and what a process needs beside it."""

from __future__ import annotations

import functools

import torch

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values, used_bytes
from benchmarks.gpu_check.configs import LARGE, STAGES, config
from emgmodels.config import Config
from emgmodels.network.memory_estimate import training_bytes
from emgmodels.training.state import Training
from emgmodels.windows.recording import Recording

MORE = {
    "gru": "gru:4(hidden=256)",
    "lstm": "lstm:4(hidden=384)",
    "transformer": "transformer:4(heads=6,width=384,feedforward=1536,positions=rotary)",
    "s4": "s4:8(width=256)",
    "conv, 8": "conv:8",
    "rolling norm": "conv:4(channels=24/24/48/48) mlp:528 share_bands:true norm:rolling bins:6",
    "learned filters": "conv1d:1(channels=256,stride=4) s4:8(width=256) filters:learned",
}
"""Beside ``LARGE``, what a space may draw."""


def run(check: Check) -> None:
    """Measure the context, then the peak of every model in both precisions."""
    recordings = data.noise(check, 3.0)
    check.case("context of a process", lambda: context(check, recordings))
    shown = {"small": STAGES["conv1d"]} if check.short else {**LARGE, **MORE}
    for name, text in shown.items():
        for precision in ("float32", "bfloat16"):
            wanted = config(text, precision=precision)
            check.case(f"{name}, {precision}", functools.partial(peak, check, wanted, recordings))


def context(check: Check, recordings: list[Recording]) -> Values:
    """Return what CUDA and its libraries hold in a process that has trained (MB)."""
    before = check.used
    training = Training(config(STAGES["gru"], batch_size=8), check.device)
    training.train_epoch(1, recordings)
    del training
    if not check.on_gpu or before is None:
        return {}
    check.synchronize()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved(check.device)
    after = used_bytes()
    assert after is not None
    # The check's own process has a context too; it is in both.
    return {"context (MB)": (after - before - held) / 1e6}


def peak(check: Check, wanted: Config, recordings: list[Recording]) -> Values:
    """Return the estimate of a training's memory and its peak beside the recordings (MB)."""
    estimate = training_bytes(wanted)
    if not check.on_gpu:
        Training(wanted, check.device).train_epoch(1, recordings)
        return {"estimate (MB)": estimate / 1e6}
    torch.cuda.empty_cache()
    begin = torch.cuda.memory_allocated(check.device)
    reserved = torch.cuda.memory_reserved(check.device)
    torch.cuda.reset_peak_memory_stats(check.device)
    training = Training(wanted, check.device)
    training.train_epoch(1, recordings)
    training.validate(recordings)
    check.synchronize()
    allocated = torch.cuda.max_memory_allocated(check.device) - begin
    held = torch.cuda.max_memory_reserved(check.device) - reserved
    return {
        "estimate (MB)": estimate / 1e6,
        "peak (MB)": allocated / 1e6,
        "held (MB)": held / 1e6,
        "peak / estimate": allocated / estimate,
        "held / estimate": held / estimate,
    }
