"""Recorded trainings as problems: which set, which of its trials, in which order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searchers.problem import WORST, Parameter, Problem
from search.halving.rungs import aligned_epochs
from search.results.growing_tables import trials_of
from search.results.record import flatten
from search.simulate.curves import Curve, read_curves, whole
from search.space import load_space

CURVES = Path(__file__).resolve().parents[1] / "curves"
BUDGET = 0.4
"""Share of all epochs that a search may train; what comes later is in no figure."""
_FEW = 8
"""Numbers of a parameter up to which it is a choice among them."""


@dataclass(frozen=True)
class Table:
    """A recorded set, from which searches are drawn.

    Attributes:
        name: what results call it.
        about: what it is, in a few words.
        paths: its run folders, which share a space.
        drawn: trials of a search.
    """

    name: str
    about: str
    paths: tuple[Path, ...]
    drawn: int

    @property
    def space(self) -> Path:
        """Its space file."""
        return self.paths[0] / "space.yaml"


TABLES = (
    Table(
        "32 epochs",
        "48 of 72 trainings of 32 epochs that start aligned",
        tuple(CURVES / name for name in ("aligned", "aligned-2", "aligned-3")),
        48,
    ),
    Table(
        "50 epochs",
        "20 of 27 trainings of 50 epochs that start aligned",
        (CURVES / "50-epochs",),
        20,
    ),
    Table("CTC alone", "20 of 24 trainings of 32 epochs from CTC's plateau", (CURVES / "ctc",), 20),
)
UNSEEN = (
    Table(
        "32 epochs, another typist",
        "20 of 24 trainings of 32 epochs that start aligned",
        (CURVES / "aligned-4",),
        20,
    ),
    Table(
        "50 epochs, another typist",
        "20 of 27 trainings of 50 epochs that start aligned",
        (CURVES / "50-epochs-2",),
        20,
    ),
)
"""Recorded when all rules had been chosen: other typists, other seeds."""


@dataclass(frozen=True)
class Recorded:
    """The trainings of a table, and the space that they are of."""

    curves: Sequence[Curve]
    configs: Sequence[dict[str, Any]]
    parameters: Sequence[Parameter]
    aligned: int


def recorded(table: Table) -> Recorded:
    """Read a table."""
    curves: list[Curve] = []
    rows: list[dict[str, Any]] = []
    for path in table.paths:
        found = read_curves(path)
        longest = max(len(curve.cer) for curve in found)
        by_trial = {str(row["trial"]): row for row in trials_of(path).read().to_pylist()}
        for curve in whole(found, longest):
            if len(curve.cer) == longest:
                curves.append(curve)
                rows.append(settings(json.loads(by_trial[curve.name]["config"])))
    aligned = aligned_epochs(load_space(table.space, imports=False).training.plain())
    parameters = varying(rows)
    names = [each.name for each in parameters]
    configs = [{name: row.get(name) for name in names} for row in rows]
    return Recorded(curves, configs, parameters, aligned)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a configuration by dotted name; a stage that is absent has 0 layers.

    Args:
        config: as a trials table has it.
    """
    given = {key: config[key] for key in ("model", "training")}
    stages = given["model"]["encoder"]
    none = {name: {"layers": 0} for name, value in stages.items() if value is None}
    model = {**given["model"], "encoder": {**stages, **none}}
    return {
        name.lstrip("."): value
        for name, value in flatten({**given, "model": model}, "").items()
        if not isinstance(value, bool)
    }


def varying(rows: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """Return the parameters in which configurations differ."""
    parameters = []
    for name in sorted(set().union(*rows)):
        values = sorted({row[name] for row in rows if row.get(name) is not None})
        if len(values) < 2:
            continue
        if isinstance(values[0], str) or len(values) <= _FEW:
            parameters.append(Parameter(name, tuple(values)))
        else:
            low, high = float(values[0]), float(values[-1])
            parameters.append(Parameter(name, (), low, high, log=low > 0 and high >= 2 * low))
    return parameters


def draw(table: Table, data: Recorded, repeat: int, slots: int) -> Problem:
    """Return a search: trials drawn without repetition, in random order.

    Args:
        table: the table.
        data: what it holds.
        repeat: which draw; the same for every searcher.
        slots: trials that train at a time.
    """
    rng = np.random.default_rng([repeat, len(data.curves)])
    chosen = rng.choice(len(data.curves), min(table.drawn, len(data.curves)), replace=False)
    curves = [data.curves[index] for index in chosen]
    epochs = len(curves[0].cer)
    return Problem(
        table=table.name,
        repeat=repeat,
        slots=slots,
        budget=round(BUDGET * epochs * len(curves)),
        aligned=data.aligned,
        cer=[_finite(curve.cer) for curve in curves],
        loss=[_finite(curve.loss) for curve in curves],
        seconds=[list(curve.seconds or [1.0] * epochs) for curve in curves],
        parameters=list(data.parameters),
        configs=[dict(data.configs[index]) for index in chosen],
    )


def _finite(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else WORST for value in values]
