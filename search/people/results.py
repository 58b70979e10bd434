"""What the comparison found: one row a person, way and amount of data, kept as it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import pyarrow as pa
import pyarrow.parquet

from emgmodels.atomic import whole

FILE = "people.parquet"
_SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("way", pa.string()),
        ("minutes", pa.float64()),
        ("is_all", pa.bool_()),
        ("cer", pa.float64()),
        ("cer_low", pa.float64()),
        ("cer_high", pa.float64()),
        ("characters", pa.int64()),
        ("weights", pa.string()),
        ("best_epoch", pa.int64()),
        ("sessions", pa.string()),
        ("seed", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Found:
    """What one model reads in a person's test sessions.

    Attributes:
        user: the person.
        way: one of ``search.people.trainings.WAYS``.
        minutes: of own data that it learnt from.
        is_all: whether these are all that there are.
        cer: of all test sessions, stitched and read greedily (%).
        cer_low: lower end of its 95 % interval, over windows of the sessions.
        cer_high: upper end.
        characters: typed in them.
        weights: hash of the model's.
        best_epoch: that they are of; 0: of no training of this comparison.
        sessions: names of the test sessions, with commas.
        seed: of the training; of zero-shot the winner's. None in tables of older versions.
    """

    user: str
    way: str
    minutes: float
    is_all: bool
    cer: float
    cer_low: float
    cer_high: float
    characters: int
    weights: str
    best_epoch: int
    sessions: str
    seed: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What it is of; the same is never read twice."""
        return self.user, self.way, self.minutes, self.weights, self.sessions


@dataclass(frozen=True)
class Summary:
    """One way on one amount of data, over people.

    Attributes:
        way: how the models were made.
        minutes: of own data; of all of it, on average.
        is_all: whether these are all that each has.
        mean: CER over people (%).
        sd: its standard deviation; None of one person.
        people: how many.
    """

    way: str
    minutes: float
    is_all: bool
    mean: float
    sd: float | None
    people: int


def read_found(run: Path) -> list[Found]:
    """Return what was found so far."""
    path = run / FILE
    if not path.is_file():
        return []
    return [Found(**row) for row in pa.parquet.read_table(path).to_pylist()]


def write_found(run: Path, found: Sequence[Found]) -> pa.Table:
    """Write all that was found, and return it as a table."""
    table = pa.Table.from_pylist([asdict(each) for each in found], schema=_SCHEMA)
    with whole(run / FILE) as scratch:
        pa.parquet.write_table(table, scratch)
    return table


def summaries(found: Sequence[Found], ways: Sequence[str]) -> Iterator[Summary]:
    """Yield what people come to on average, way by way, from little data to all."""
    for way in ways:
        of_way = [each for each in found if each.way == way and math.isfinite(each.cer)]
        # What people have in all differs from one to the other, and is one amount.
        groups: dict[tuple[bool, float], list[Found]] = {}
        for each in of_way:
            groups.setdefault((each.is_all, 0.0 if each.is_all else each.minutes), []).append(each)
        for (is_all, _), group in sorted(groups.items()):
            cers = [each.cer for each in group]
            yield Summary(
                way,
                mean(each.minutes for each in group),
                is_all,
                mean(cers),
                stdev(cers) if len(cers) > 1 else None,
                len(cers),
            )
