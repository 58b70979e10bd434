"""What a GPU does with this project: right or not, how fast, how much of it, in some minutes.

``python -m benchmarks gpu-check`` works through ``ITEMS`` in order of worth. Each item is a process
of its own with a limit of its own, so that a fault of the GPU in one leaves the next ones alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One thing to find out.

    Attributes:
        module: has ``run(check)``.
        title: what it finds out.
        share: of the time; what an item leaves over goes to the next ones.
    """

    module: str
    title: str
    share: float


ITEMS = {
    "numerics": Item(
        "benchmarks.gpu_check.numerics", "every stage and setting, GPU against CPU", 0.15
    ),
    "resuming": Item(
        "benchmarks.gpu_check.resuming", "resumed trainings, checkpoints between devices", 0.06
    ),
    "speed": Item("benchmarks.gpu_check.speed", "steps, and their share of the GPU's rates", 0.34),
    "decoding": Item("benchmarks.gpu_check.decoding", "validation, reading and decoding", 0.07),
    "memory": Item("benchmarks.gpu_check.memory", "memory: the estimate against the peak", 0.06),
    "sharing": Item("benchmarks.gpu_check.sharing", "several trainings on one GPU", 0.18),
    "resident": Item("benchmarks.gpu_check.resident", "recordings on the GPU or streamed", 0.05),
    "determinism": Item("benchmarks.gpu_check.determinism", "what differs from run to run", 0.09),
}
"""In order of worth."""
SEARCH = Item(
    "benchmarks.gpu_check.searching", "a search with shared GPUs, killed and resumed", 0.5
)
"""Needs Ray and Optuna, so it runs only when it is asked for."""
