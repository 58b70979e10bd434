"""Training on a GPU: windows a second by precision, input's share, share of its rates, packing.

Without a GPU its rows stand as unmeasured; a short run then takes the same way on the CPU.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import data
from benchmarks.measure import Figure, Scope, Yardstick
from benchmarks.together import Trainers
from emgmodels.config import Config
from emgmodels.network.memory_estimate import footprint
from emgmodels.notation import parse_notation
from emgmodels.training.fit import _Run
from emgmodels.windows.batches import batches, window_starts
from emgmodels.windows.cache import prepare
from emgmodels.windows.device import DeviceRecordings, recordings_on
from emgmodels.windows.recording import Recording

MODELS = {
    "baseline": "conv:4 @16ch",
    "report's best": "transformer:2(heads=8,feedforward=512) gru:4(hidden=384) conv:4 @16ch",
}
SETTINGS: dict[str, dict[str, object]] = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}
PACKED = (1, 2, 4, 8)
"""Trials on one GPU at once."""
SUBJECT_WINDOWS = round(5.5 * 3600 / 4)
"""Training windows of the report's subject."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure epochs of several models, or say that they are unmeasured."""
    there = torch.cuda.is_available()
    for name, text in MODELS.items():
        for setting, values in SETTINGS.items():
            title = f"{name}, {setting}"
            if there:
                yield from _epochs(scope, title, text, values, torch.device("cuda"))
            elif scope.short and setting == "bfloat16" and name == "baseline":
                small = "conv:1(channels=4,kernel=5) mlp:16"
                yield from _epochs(scope, title, small, values, torch.device("cpu"))
            else:
                yield Figure(f"training windows, {title}", None, "windows/s")
                yield Figure(f"memory traffic of training, {title}", None, "GB/s")
                yield Figure(f"50 epochs of a 5.5-hour subject, {title}", None, "s")
    yield from _packed(scope, there)


def _epochs(
    scope: Scope, title: str, text: str, values: dict[str, object], device: torch.device
) -> Iterator[Figure]:
    recordings = prepare(data.sessions(1, 0.5 if scope.short else 20.0))
    config = Config.model_validate({"model": parse_notation(text), "training": values})
    training = _Run(config, device)
    timings = scope.interleave(
        {
            "epoch": _whole(lambda: training.train_epoch(1, recordings), device),
            "input": _whole(lambda: _input(training, recordings), device),
        },
        _rates(device),
    )
    windows = len(window_starts(recordings, training.feed.train_cut.window))
    epoch, reduced = timings.median("epoch"), training.reduced
    frames = training.model.spectrogram.frames(training.feed.train_framing.samples)
    arithmetic = timings.floor(2 * windows * 3 * training.model.macs(frames), reduced=reduced)
    moved = step_traffic(config, reduced) * windows / config.training.batch_size
    yield Figure(
        f"training windows, {title}",
        value=windows / epoch,
        unit="windows/s",
        floor=windows / arithmetic,
        share=arithmetic / epoch,
        note=f"cutting, features and masks alone: {timings.median('input') / epoch:.0%} of it",
    )
    yield Figure(
        f"memory traffic of training, {title}",
        value=moved / epoch / 1e9,
        unit="GB/s",
        floor=timings.bytes_a_second() / 1e9,
        share=moved / epoch / timings.bytes_a_second(),
        note="of what a step must read and write at least; floor: a copy",
    )
    yield Figure(
        f"50 epochs of a 5.5-hour subject, {title}",
        value=50 * epoch * SUBJECT_WINDOWS / windows,
        unit="s",
        note="training alone, from one epoch of 20 minutes",
    )


def step_traffic(config: Config, reduced: bool) -> float:
    """Return the bytes that an optimiser step must at least move between chip and memory.

    Batch and what the backward pass needs are written once and read once. A weight is read forward
    and backward, its gradient written, and Adam reads four numbers for it and writes three.

    Args:
        config: the training.
        reduced: what is kept for the backward pass is bfloat16.
    """
    found = footprint(config)
    kept = found.kept / 2 if reduced else found.kept
    return 2 * (found.inputs + kept) + 4 * 10 * found.parameters


def _packed(scope: Scope, there: bool) -> Iterator[Figure]:
    """Trials an hour of 50 epochs of the report's subject, by how many share the GPU."""
    text = MODELS["baseline"] if there else "conv:1(channels=4,kernel=5) mlp:16"
    config = Config.model_validate({"model": parse_notation(text)})
    packs = PACKED[:2] if scope.short else PACKED
    rates: dict[int, list[float]] = {trials: [] for trials in packs}
    if there or scope.short:
        device, minutes = ("cuda", 5.0) if there else ("cpu", 0.5)
        with Trainers(max(packs), config, device, minutes) as trainers:
            for _ in range(scope.turns):
                for trials in packs:
                    seconds = 0.1 if scope.short else 10.0
                    rates[trials].append(trainers.windows_a_second(trials, 1, seconds))
    for trials in packs:
        rate = statistics.median(rates[trials]) if rates[trials] else None
        each = 50 * SUBJECT_WINDOWS
        yield Figure(
            f"trials an hour, {trials} on the GPU, baseline",
            value=None if rate is None else 3600 * rate / each,
            unit="trials/h",
            note="training alone" if rate is None else f"{rate:.0f} windows/s in all",
        )


def _input(training: _Run, recordings: list[Recording]) -> None:
    """Gather, transform and mask an epoch's windows, without a model."""
    loaded = recordings_on(training.device, tuple(recordings))
    if loaded is None:
        loaded = DeviceRecordings(recordings, training.device)
    windows = window_starts(recordings, training.feed.train_cut.window)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    for batch in batches(recordings, windows, 32, training.feed.train_cut, rng, loaded):
        training.augment(training.model.spectrogram(batch.emg), generator)


def _whole(part: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return a part that ends when the device has done all of it."""

    def run_to_the_end() -> None:
        part()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run_to_the_end


def _rates(device: torch.device) -> dict[str, Yardstick]:
    """Return large matrix products and a copy on the device."""
    size, numbers = (8192, 1 << 28) if device.type == "cuda" else (256, 1 << 20)
    source = torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    found = {"copy": Yardstick(_whole(lambda: target.copy_(source), device), moved=8.0 * numbers)}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(size, size, device=device).to(dtype)
        product = _whole(functools.partial(torch.mm, a, a), device)
        found[str(dtype)] = Yardstick(product, 2.0 * size**3, reduced=dtype == torch.bfloat16)
    return found
