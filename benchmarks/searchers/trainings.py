"""Trainings that are made as far as they are asked for, and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import torch

from benchmarks.searchers.asked import MEASURES
from benchmarks.searchers.problem import WORST
from emgmodels.atomic import whole
from emgmodels.config import Config
from emgmodels.training.fit import fit
from emgmodels.training.result import EpochResult
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import Recording
from search.results.demo_sessions import folder_of, paths_of, typist_folder
from search.results.environment import source_hash
from search.space import TypistConfig


class Training:
    """One training, which goes on when a later epoch is asked for."""

    def __init__(
        self,
        config: Config,
        train: Sequence[Recording],
        val: Sequence[Recording],
        stem: Path,
    ) -> None:
        self._config, self._train, self._val = config, train, val
        self._table, self._checkpoint = stem.with_suffix(".json"), stem.with_suffix(".pt")
        self._going: Iterator[EpochResult] | None = None
        self._values: dict[str, list[float]] = {name: [] for name in MEASURES}
        if self._table.is_file():
            self._values = json.loads(self._table.read_text(encoding="utf-8"))

    def through(self, epoch: int) -> dict[str, list[float]]:
        """Return the values of each epoch by measure, at least as far as this one."""
        while len(self._values["cer"]) < epoch:
            self._go_on()
        return self._values

    def _go_on(self) -> None:
        begin = time.process_time()
        result = self._next()
        took = time.process_time() - begin
        if result is None:
            # It diverged, and has no further epoch: those to come are as bad, and cost nothing.
            left = self._config.training.epochs - len(self._values["cer"])
            self._add([WORST] * left, [WORST] * left, [0.0] * left)
            return
        # The table first: after a kill an epoch that it has may be trained again, but none is lost.
        self._add([_finite(result.val_cer)], [_finite(result.val_loss)], [took])
        result.save(self._checkpoint)

    def _next(self) -> EpochResult | None:
        """Return the first epoch that the table does not have; None: there is none."""
        if self._going is None:
            resume = self._checkpoint if self._checkpoint.is_file() else None
            self._going = fit(self._config, self._train, self._val, resume)
        known = len(self._values["cer"])
        return next((result for result in self._going if result.epoch > known), None)

    def _add(self, *values: Sequence[float]) -> None:
        for name, more in zip(MEASURES, values, strict=True):
            self._values[name] += more
        with whole(self._table) as scratch:
            scratch.write_text(json.dumps(self._values), encoding="utf-8")


class Trainings:
    """All trainings of a benchmark: each configuration with each seed is trained once.

    Args:
        typist: whose sessions they are of; the last session validates.
        folder: keeps them. Those of other sessions or another version of this program differ.
    """

    def __init__(self, typist: TypistConfig, folder: Path) -> None:
        typist_folder(typist)
        *self._train, self._last = prepare(paths_of(typist))
        self._folder = folder
        self._about = f"{folder_of(typist).name} {source_hash()} {torch.__version__}"
        self._known: dict[str, Training] = {}

    def of(self, config: Config) -> Training:
        """Return a configuration's training; its name alone makes no difference."""
        text = config.model_dump_json(exclude={"name"})
        key = hashlib.sha256(f"{self._about} {text}".encode()).hexdigest()[:20]
        if key not in self._known:
            stem = self._folder / key
            self._known[key] = Training(config, self._train, [self._last], stem)
        return self._known[key]


class Column(Sequence[float]):
    """One measure of a training's epochs: what is read of it is trained first."""

    def __init__(self, trainings: Trainings, places: Sequence[Config], trial: int, name: str):
        self._trainings, self._places, self._trial, self._name = trainings, places, trial, name

    def __len__(self) -> int:
        return self._places[self._trial].training.epochs

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        wanted = range(len(self))[index]
        last = wanted if isinstance(wanted, int) else max(wanted, default=-1)
        # Looked up at each call: a place takes its configuration when a searcher suggests one.
        training = self._trainings.of(self._places[self._trial])
        return training.through(last + 1)[self._name][index]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else WORST
