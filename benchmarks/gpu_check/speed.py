"""Training steps of large models: time, the input's part, and the share of the GPU's own rates."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_check import data
from benchmarks.gpu_check.check import Check, Values, set_to
from benchmarks.gpu_check.configs import LARGE, STAGES, config
from emgmodels.config import Config
from emgmodels.network.memory_estimate import footprint
from emgmodels.training.state import Training
from emgmodels.windows.batches import batches, window_starts
from emgmodels.windows.device import recordings_on
from emgmodels.windows.recording import Recording

SETTINGS: dict[str, dict[str, object]] = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}
SUBJECT_HOURS = 5.5
"""Training EMG of the technical report's subject."""
EPOCHS = 50
"""Of a whole training, as the report's."""
_COMPILING = 45.0
"""Seconds that compiling a model takes at most, as far as is known."""


@dataclass(frozen=True)
class Rates:
    """What the device can do at best, measured by large operations.

    Attributes:
        float32: operations a second of a matrix product.
        bfloat16: likewise.
        bandwidth: bytes read and written a second by a copy.
    """

    float32: float
    bfloat16: float
    bandwidth: float


def run(check: Check) -> None:
    """Measure the device's rates, then each model in each setting, then profile a step."""
    found = check.case("rates of the device", lambda: measure_rates(check))
    if not found:
        return
    per_second = [float(found[name] or 0) * 1e12 for name in found]
    rates = Rates(per_second[0], per_second[2], per_second[3])
    recordings = data.noise(check, 10.0)
    for setting, values in SETTINGS.items():
        for name, text in models(check).items():
            check.case(
                f"{name}, {setting}",
                functools.partial(measure, check, config(text, **values), recordings, rates),
                least=_COMPILING if values.get("compile") and check.on_gpu else 5.0,
            )
        if setting == "bfloat16":
            for name, text in models(check).items():
                check.case(
                    f"{name}: profile of an epoch",
                    functools.partial(profiled, check, name, config(text), recordings),
                )


def models(check: Check) -> dict[str, str]:
    """Return the architectures to measure; one small one in a short check."""
    return {"small": STAGES["conv1d"]} if check.short else LARGE


def measure_rates(check: Check) -> Values:
    """Return the device's rates (10^12 a second)."""
    size, numbers = (8192, 1 << 30) if check.on_gpu else (256, 1 << 20)
    found: dict[str, float] = {}
    for name, dtype, short in (
        ("float32 TFLOP/s", torch.float32, False),
        ("TF32 TFLOP/s", torch.float32, True),
        ("bfloat16 TFLOP/s", torch.bfloat16, False),
    ):
        a = torch.randn(size, size, device=check.device).to(dtype)
        with set_to(torch.backends.cuda.matmul, "allow_tf32", short):
            product = functools.partial(torch.mm, a, a)
            product()
            found[name] = 2e-12 * size**3 / check.time(product, 0.3)
    source = torch.ones(numbers, device=check.device)
    target = torch.empty_like(source)
    found["copy TB/s"] = 8e-12 * numbers / check.time(lambda: target.copy_(source), 0.3)
    return found


def measure(
    check: Check, wanted: Config, recordings: list[Recording], rates: Rates
) -> dict[str, float]:
    """Return what an epoch's steps take, and their share of the device's rates."""
    training = Training(wanted, check.device)
    first = check.time(lambda: training.train_epoch(1, recordings), 0.0)
    epoch = check.time(lambda: training.train_epoch(1, recordings), 2.0)
    fed = input_alone(training, recordings)
    fed()
    windows = len(window_starts(recordings, training.feed.train_cut.window))
    steps = math.ceil(windows / wanted.training.batch_size)
    operations = windows * operations_of(training)
    moved = step_traffic(wanted, training.reduced) * windows / wanted.training.batch_size
    rate = rates.bfloat16 if training.reduced else rates.float32
    a_subject = EPOCHS * epoch * (SUBJECT_HOURS * 3600 / wanted.training.window_seconds) / windows
    return {
        "step (ms)": 1000 * epoch / steps,
        "windows/s": windows / epoch,
        "input (% of a step)": 100 * check.time(fed, 0.5) / epoch,
        "matrix rate (%)": 100 * operations / epoch / rate,
        "bandwidth (%)": 100 * moved / epoch / rates.bandwidth,
        f"{EPOCHS} epochs of {SUBJECT_HOURS} h (min)": a_subject / 60,
        "first epoch (s)": first,
        "parameters (M)": sum(p.numel() for p in training.model.parameters()) / 1e6,
    }


def operations_of(training: Training) -> float:
    """Return the operations of a window's forward and backward pass by learned weights."""
    frames = training.model.spectrogram.frames(training.feed.train_framing.samples)
    return 2 * 3 * training.model.macs(frames)


def step_traffic(wanted: Config, reduced: bool) -> float:
    """Return the bytes that an optimiser step must at least move between chip and memory.

    Batch and what the backward pass needs are written once and read once. A weight is read forward
    and backward, its gradient written, and Adam reads four numbers for it and writes three.

    Args:
        wanted: the training.
        reduced: what is kept for the backward pass is bfloat16.
    """
    found = footprint(wanted)
    kept = found.kept / 2 if reduced else found.kept
    return 2 * (found.inputs + kept) + 4 * 10 * found.parameters


def input_alone(training: Training, recordings: list[Recording]) -> Callable[[], None]:
    """Return what cuts, transforms and masks an epoch's windows without a model."""
    feed = training.feed
    windows = window_starts(recordings, feed.train_cut.window)
    size = training.config.training.batch_size

    def fed() -> None:
        loaded = recordings_on(training.device, tuple(recordings))
        generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
        for batch in batches(recordings, windows, size, feed.train_cut, rng, loaded):
            emg = batch.to(training.device).emg
            training.augment(training.model.spectrogram(emg), generator)

    return fed


def profiled(check: Check, name: str, wanted: Config, recordings: list[Recording]) -> Values:
    """Return how busy the GPU is during an epoch; write its operations as a table."""
    training = Training(wanted, check.device)
    training.train_epoch(1, recordings)
    check.synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if check.on_gpu else [])]
    whole = check.time(lambda: training.train_epoch(1, recordings), 0.5)
    with profile(activities=activities) as profiler:
        training.train_epoch(1, recordings)
        check.synchronize()
    windows = len(window_starts(recordings, training.feed.train_cut.window))
    steps = math.ceil(windows / wanted.training.batch_size)
    averages = profiler.key_averages()
    by = "self_device_time_total" if check.on_gpu else "self_cpu_time_total"
    title = name.replace(" ", "-").replace("'", "")
    path = check.folder / f"profile-{title}.txt"
    path.write_text(averages.table(sort_by=by, row_limit=40), encoding="utf-8")
    kernels = [e for e in averages if e.device_type != torch.autograd.DeviceType.CPU]
    busy = sum(each.self_device_time_total for each in kernels) / 1e6
    launches = sum(each.count for each in kernels)
    syncs = sum(e.count for e in averages if "Synchronize" in e.key)
    return {
        "GPU busy (%)": 100 * busy / whole,
        "kernels a step": launches / steps,
        "waits for the GPU a step": syncs / steps,
    }
