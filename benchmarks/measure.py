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
from pathlib import Path

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
        venvs: folder for the environments of other libraries; None: they are left out.
        folder: where a benchmark writes a table and a picture of its own; None: nowhere.
        keep: folder in which a benchmark's trainings are kept; None: they are not.
    """

    short: bool = False
    repeats: int = 5
    threads: int = 1
    clock: Callable[[], float] = time.perf_counter
    venvs: Path | None = None
    folder: Path | None = None
    keep: Path | None = None

    @property
    def turns(self) -> int:
        """Turns of a comparison."""
        return 1 if self.short else self.repeats

    def interleave(
        self,
        parts: Mapping[str, Callable[[], object]],
        rates: Mapping[str, Yardstick] | None = None,
    ) -> Timings:
        """Return the seconds that each part took in each turn.

        Args:
            parts: what to time, run one after the other in every turn, and once before, unmeasured.
            rates: what to time beside it to know the machine; default: ``yardsticks()``.
        """
        if rates is None:
            rates = yardsticks(size=256, megabytes=4) if self.short else yardsticks()
        runs = {**parts, **{name: yardstick.run for name, yardstick in rates.items()}}
        for run in runs.values():
            run()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(self.turns):
            for name, run in runs.items():
                begin = self.clock()
                run()
                seconds[name].append(self.clock() - begin)
        return Timings(seconds, rates)


@dataclass(frozen=True)
class Yardstick:
    """Something simple to time, from which follows what a machine can do at best.

    Attributes:
        run: what to time.
        operations: floating point operations of it, two for each multiply-accumulate.
        moved: bytes that it reads and writes.
        reduced: the operations are bfloat16's.
    """

    run: Callable[[], object]
    operations: float = 0.0
    moved: float = 0.0
    reduced: bool = False


def yardsticks(size: int = 1536, megabytes: int = 256) -> dict[str, Yardstick]:
    """Return large matrix products, by torch and by oneDNN, and a copy that no cache holds."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    short_a, short_b = a.bfloat16(), b.bfloat16()
    source = torch.ones(megabytes << 18)
    target = torch.empty_like(source)
    operations = 2.0 * size**3
    found = {
        "torch": Yardstick(lambda: torch.mm(a, b), operations),
        "bfloat16": Yardstick(lambda: torch.mm(short_a, short_b), operations, reduced=True),
        "copy": Yardstick(lambda: target.copy_(source), moved=2.0 * (megabytes << 20)),
    }
    if torch.backends.mkldnn.is_available():
        product = torch.ops.mkldnn._linear_pointwise
        found["oneDNN"] = Yardstick(lambda: product(a, b, None, "none", [], ""), operations)
    return found


@dataclass(frozen=True)
class Timings:
    """Seconds of each part in each turn.

    Attributes:
        seconds: of each part, a yardstick's by its name.
        yardsticks: what among the parts tells the machine's rates.
    """

    seconds: Mapping[str, list[float]]
    yardsticks: Mapping[str, Yardstick]

    def median(self, part: str) -> float:
        """Return the seconds of a part, the median over turns."""
        return statistics.median(self.seconds[part])

    def ratio(self, slow: str, fast: str) -> float:
        """Return the median over turns of how many times faster one part is than another."""
        turns = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return statistics.median(s / f for s, f in turns)

    def operations_a_second(self, reduced: bool = False) -> float:
        """Return the rate of the fastest matrix product; reduced numbers may be float32 as well."""
        # A processor without bfloat16 multiplies it a hundred times slower than float32.
        return max(
            yardstick.operations / self.median(name)
            for name, yardstick in self.yardsticks.items()
            if reduced or not yardstick.reduced
        )

    def multiplies_bfloat16(self) -> bool:
        """Return whether bfloat16 numbers are multiplied faster than float32 here."""
        return self.operations_a_second(reduced=True) > self.operations_a_second()

    def bytes_a_second(self) -> float:
        """Return the bandwidth of memory, bytes read and bytes written."""
        return max(each.moved / self.median(name) for name, each in self.yardsticks.items())

    def floor(self, operations: float = 0, moved: float = 0, reduced: bool = False) -> float:
        """Return the seconds that arithmetic or memory alone would take, whichever is longer.

        Args:
            operations: floating point operations.
            moved: bytes read and written.
            reduced: the operations are bfloat16's.
        """
        return max(operations / self.operations_a_second(reduced), moved / self.bytes_a_second())
