"""How a figure is measured: interleaved repeats, medians, and the rates of this machine.

Two things are compared by turns within one run, so that whatever else the machine does slows both;
the ratio is the median over turns of each turn's own ratio. On a machine that others use as well,
the clock can be this process's processor time instead of the wall's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Figure:
    """One row of the results.

    Attributes:
        name: what was measured.
        value: the figure; None where it could not be measured here.
        unit: its unit.
        reference: the same of the plain reference implementation.
        ratio: how many times better the figure is than the reference.
        wanted: what the ratio, or the share where there is no reference, should be.
        floor: the value that operations and bytes alone would allow on this machine.
        share: how near the figure is to the floor; 1 is there.
        note: what else should be known.
    """

    name: str
    value: float | None
    unit: str
    reference: float | None = None
    ratio: float | None = None
    wanted: str = ""
    floor: float | None = None
    share: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Scope:
    """How much to measure.

    Attributes:
        short: a small input, once: for checking that it runs and that results agree.
        repeats: turns of a comparison.
        threads: torch threads.
        clock: seconds since some time: ``time.perf_counter``, or ``time.process_time``.
    """

    short: bool = False
    repeats: int = 5
    threads: int = 1
    clock: Callable[[], float] = time.perf_counter

    @property
    def turns(self) -> int:
        """Turns of a comparison."""
        return 1 if self.short else self.repeats

    def interleave(
        self, parts: Mapping[str, Callable[[], object]], turns: int | None = None
    ) -> dict[str, list[float]]:
        """Return the seconds that each part took in each turn.

        Args:
            parts: what to time, run one after the other in every turn, and once before, unmeasured.
            turns: how often; default: as the scope says.
        """
        for part in parts.values():
            part()
        seconds: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(turns or self.turns):
            for name, part in parts.items():
                begin = self.clock()
                part()
                seconds[name].append(self.clock() - begin)
        return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median over turns of how many times faster one is than the other."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def matmul(dtype: torch.dtype = torch.float32, size: int = 1536) -> Callable[[], object]:
    """Return a square matrix product, the yardstick of arithmetic; ``matmul_operations`` each."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    out = torch.empty(size, size, dtype=dtype)
    return lambda: torch.mm(a, b, out=out)


def onednn_matmul(size: int = 1536) -> Callable[[], object]:
    """Return the same product by oneDNN, which on some processors is faster than torch's choice."""
    if not torch.backends.mkldnn.is_available():
        return matmul(size=size)
    a, b = torch.randn(size, size), torch.randn(size, size)
    return lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


def matmul_operations(size: int = 1536) -> int:
    """Return the floating point operations of ``matmul``, two for each multiply-accumulate."""
    return 2 * size**3


def copy(megabytes: int = 256) -> Callable[[], object]:
    """Return a copy between two arrays that no cache holds, the yardstick of memory bandwidth."""
    source = torch.ones(megabytes << 18)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def copy_bytes(megabytes: int = 256) -> int:
    """Return the bytes that ``copy`` moves: those read and those written."""
    return 2 * megabytes << 20
