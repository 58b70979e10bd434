"""How many trials share a GPU, where the user leaves it to the search (``--gpus-per-trial auto``).

A training's need is the estimate of ``emgmodels.network.memory_estimate``, a dry run on PyTorch's
meta device, for the largest of some architectures drawn from the space. Each process also has
CUDA's context, and its own copy of the recordings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emgmodels.config import BAND_ELECTRODES, BANDS, Config
from emgmodels.network.memory_estimate import training_bytes
from emgmodels.windows.prompts import longest_prompt
from emgmodels.windows.recording import Recording
from search.space import Space
from search.space.draws import drawn

AUTO = "auto"
# A guess, not measured: processes take turns on the GPU. There is one share for all trials,
# because Ray places trials by what the whole search asks for.
MOST = 8
"""Trials that share a GPU at most."""
# The largest of 40 is among the largest 5 % of the space with a probability of 87 %. A rare
# larger one runs out of memory by itself and is started again.
_DRAWN = 40
"""Architectures that are drawn to find a large one."""
_CONTEXT_BYTES = 700 * 2**20
"""CUDA's context and its libraries' workspaces, of each process. Assumed: only the libraries were
measured, 153 MB on an H200."""
_HEADROOM = 1.3
"""What is set aside over the estimate. On an H200 PyTorch held 0.36 to 1.15 times the estimate for
ten architectures in float32 (``python -m benchmarks gpu-check memory``)."""
_HEADROOM_REDUCED = 1.0
"""The same in bfloat16, where it held 0.24 to 0.78 times the estimate for nine architectures."""


def gpus_of_trial(given: float | str | None) -> float | str | None:
    """Return the option ``--gpus-per-trial`` as it is used: a number, ``auto`` or None.

    Raises:
        ValueError: it is text that is neither a number nor ``auto``.
    """
    if given is None or given == AUTO:
        return given
    try:
        return float(given)
    except ValueError:
        raise ValueError(
            f"--gpus-per-trial {given}: must be a number such as 0.5 or 1, or auto"
        ) from None


def trial_bytes(space: Space, recordings: Sequence[Recording]) -> int:
    """Return what a trial of a space needs of a GPU's memory (bytes), recordings included."""
    configs = list(drawn(space, _DRAWN))
    # auto is bfloat16 on GPUs since Ampere (2020).
    headroom = [
        _HEADROOM if config.training.precision == "float32" else _HEADROOM_REDUCED
        for config in configs
    ]
    needed = zip(headroom, step_bytes(configs, recordings), strict=True)
    largest = max((factor * step for factor, step in needed), default=0)
    samples = sum(recording.samples for recording in recordings)
    return round(largest) + _CONTEXT_BYTES + 2 * BANDS * BAND_ELECTRODES * samples


def step_bytes(configs: Iterable[Config], recordings: Sequence[Recording]) -> list[int]:
    """Return what a training step of each configuration needs (bytes), on given recordings."""
    prompt = longest_prompt(recordings)
    return [training_bytes(config, prompt) for config in configs]


def gpu_share(needed: int, gpu_bytes: int, cores: float) -> float:
    """Return the part of a GPU for each trial, so that all that share it fit.

    Args:
        needed: bytes that a trial needs.
        gpu_bytes: the GPU's memory.
        cores: cores of the machine for each GPU; every trial keeps one busy.

    Returns:
        One over the number of trials, rounded down to the four digits that Ray tells apart. A trial
        that needs more than there is gets the whole GPU.
    """
    # A trial keeps a core busy starting kernels, so more trials than cores would wait for each
    # other.
    fitting = max(1, min(gpu_bytes // needed, int(cores), MOST))
    # Rounded down: with 0.3334 each, Ray would place two trials instead of three.
    return math.floor(1e4 / fitting) / 1e4
